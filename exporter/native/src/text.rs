//! A string of Redis, as it is stored: bytes, or an integer that stands for its digits.
//!
//! Knows: that the two forms can be the same string. Refuses to know: what the string is for.

use std::cmp::Ordering;

/// The entries of a small encoding.
pub trait Entries<'a> {
    /// The next one; None at the end. What the encoding says of itself must hold.
    fn next(&mut self) -> crate::fault::Result<Option<Text<'a>>>;

    /// Passes over one that nobody looks at; false at the end.
    #[inline]
    fn pass(&mut self) -> crate::fault::Result<bool> {
        Ok(self.next()?.is_some())
    }
}

/// Passes over all of `entries`; gives their number.
pub fn count<'a>(mut entries: impl Entries<'a>) -> crate::fault::Result<u64> {
    let mut count = 0;
    while entries.pass()? {
        count += 1;
    }
    Ok(count)
}

/// A string inside an RDB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Text<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// Its digits, without a leading zero or a plus.
    Integer(i64),
}

impl<'a> Text<'a> {
    /// The same string in the one form that equal strings share.
    #[inline]
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Bytes(bytes) => match integer_of(bytes) {
                Some(number) => Self::Integer(number),
                None => self,
            },
            Self::Integer(_) => self,
        }
    }

    /// The number that it is in servers' eyes: `string2ll`, or one that is stored as such.
    #[inline]
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        match self.canonical() {
            Self::Integer(number) => Some(number),
            Self::Bytes(_) => None,
        }
    }

    /// The order of `memcmp` on the digits and bytes, shorter first.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        let (mut mine, mut theirs) = (Digits::default(), Digits::default());
        mine.bytes(self).cmp(theirs.bytes(other))
    }

    /// Its bytes, or its digits.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        Digits::default().bytes(self).to_vec()
    }

    /// The number that the whole text is.
    #[must_use]
    pub fn float(self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss)] // as a server does
            Self::Integer(number) => Some(number as f64),
            Self::Bytes(bytes) => match float_at_start(bytes) {
                Some((value, [], _)) => Some(value),
                _ => None,
            },
        }
    }
}

/// Room for the digits of an integer.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn bytes<'a>(&'a mut self, text: Text<'a>) -> &'a [u8] {
        let number = match text {
            Text::Bytes(bytes) => return bytes,
            Text::Integer(number) => number,
        };
        let mut left = number.unsigned_abs();
        let mut start = self.0.len();
        for (at, digit) in self.0.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
            start = at;
            if left == 0 {
                break;
            }
        }
        if number < 0 {
            start = start.saturating_sub(1);
            if let Some(sign) = self.0.get_mut(start) {
                *sign = b'-';
            }
        }
        self.0.get(start..).unwrap_or_default()
    }
}

/// The integer whose digits `bytes` are, in the only way to write them.
#[inline]
fn integer_of(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    if !(first.is_ascii_digit() || first == b'-') || bytes.len() > 20 {
        return None;
    }
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    match digits {
        [] => return None,
        [b'0'] if first == b'0' => return Some(0),
        [b'0', ..] => return None,
        _ => {}
    }
    let mut sum: i128 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum * 10 + i128::from(digit - b'0');
    }
    i64::try_from(if first == b'-' { -sum } else { sum }).ok()
}

/// The number that `text` begins with, what follows it, and whether it is hexadecimal: what C's
/// `strtod` finds.
#[must_use]
pub fn float_at_start(text: &[u8]) -> Option<(f64, &[u8], bool)> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let begin = text.iter().position(|byte| !blank(byte))?;
    let text = text.get(begin..)?;
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (value, rest, hexadecimal) = unsigned_at_start(body)?;
    Some((if negative { -value } else { value }, rest, hexadecimal))
}

fn unsigned_at_start(text: &[u8]) -> Option<(f64, &[u8], bool)> {
    if let [b'0', b'x' | b'X', digits @ ..] = text {
        let end = span(digits, u8::is_ascii_hexdigit);
        if end > 0 {
            let (digits, rest) = digits.split_at_checked(end)?;
            let value = digits.iter().fold(0.0, |sum, digit| {
                let digit = char::from(*digit).to_digit(16).unwrap_or_default();
                sum * 16.0 + f64::from(digit)
            });
            return Some((value, rest, true));
        }
    }
    for (word, value) in [
        (&b"infinity"[..], f64::INFINITY),
        (b"inf", f64::INFINITY),
        (b"nan", f64::NAN),
    ] {
        if let Some((begin, rest)) = text.split_at_checked(word.len())
            && begin.eq_ignore_ascii_case(word)
        {
            return Some((value, rest, false));
        }
    }
    let end = decimal_end(text)?;
    let (number, rest) = text.split_at_checked(end)?;
    let value = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((value, rest, false))
}

/// Where `12`, `12.`, `1.5` or `.5`, with an exponent that has digits, ends.
fn decimal_end(text: &[u8]) -> Option<usize> {
    let whole = span(text, u8::is_ascii_digit);
    let mut end = whole;
    if let Some([b'.', after @ ..]) = text.get(whole..) {
        let fraction = span(after, u8::is_ascii_digit);
        if whole + fraction > 0 {
            end = whole + 1 + fraction;
        }
    }
    if end == 0 {
        return None;
    }
    if let Some([b'e' | b'E', after @ ..]) = text.get(end..) {
        let sign = usize::from(matches!(after.first(), Some(b'+' | b'-')));
        let digits = span(after.get(sign..)?, u8::is_ascii_digit);
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    Some(end)
}

fn span(text: &[u8], is: impl Fn(&u8) -> bool) -> usize {
    text.iter().position(|byte| !is(byte)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_one_form() {
        for (bytes, number) in [
            (&b"0"[..], Some(0)),
            (b"12", Some(12)),
            (b"-12", Some(-12)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"012", None),
            (b"-0", None),
            (b"-", None),
            (b"", None),
            (b"1 ", None),
            (b"+1", None),
            (b"99999999999999999999", None),
        ] {
            assert_eq!(Text::Bytes(bytes).integer(), number, "{bytes:?}");
        }
    }

    #[test]
    fn digits_compare_as_text() {
        let order = |a, b| Text::compare(a, b);
        assert_eq!(order(Text::Integer(10), Text::Integer(9)), Ordering::Less);
        assert_eq!(
            order(
                Text::Integer(i64::MIN),
                Text::Bytes(b"-9223372036854775808")
            ),
            Ordering::Equal
        );
        assert_eq!(order(Text::Integer(0), Text::Bytes(b"0")), Ordering::Equal);
        assert_eq!(order(Text::Bytes(b"a"), Text::Bytes(b"ab")), Ordering::Less);
    }

    #[test]
    fn floats_are_read_as_c_reads_them() {
        for (text, value) in [
            (&b"1"[..], Some(1.0)),
            (b" 1.5", Some(1.5)),
            (b".5", Some(0.5)),
            (b"5.", Some(5.0)),
            (b"1e3", Some(1000.0)),
            (b"-1e-3", Some(-0.001)),
            (b"0x1F", Some(31.0)),
            (b"inf", Some(f64::INFINITY)),
            (b"-Infinity", Some(f64::NEG_INFINITY)),
            (b"1 ", None),
            (b"1e", None),
            (b".", None),
            (b"", None),
            (b"abc", None),
        ] {
            assert_eq!(Text::Bytes(text).float(), value, "{text:?}");
        }
        assert!(Text::Bytes(b"nan").float().is_some_and(f64::is_nan));
        assert_eq!(float_at_start(b"1e"), Some((1.0, &b"e"[..], false)));
    }
}
