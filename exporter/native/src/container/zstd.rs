//! One zstd frame: header, blocks, content size and checksum where the frame has them (RFC 8878).

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode as Code;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_frame_content_size};

use super::{Fault, MEMORY_LOG2, Step, Then};

/// The longest header of a frame, its magic included.
const HEADER_BYTES: usize = 18;
const BLOCK_HEADER_BYTES: usize = 3;
/// What the library asks for at the beginning of a frame: the shortest header, and a block's.
const FIRST_HINT_BYTES: usize = 5 + BLOCK_HEADER_BYTES;

pub(super) struct Frame {
    context: DCtx<'static>,
    /// The first bytes of the frame.
    head: Vec<u8>,
    content_bytes: u64,
    /// What the library asks for: the current part, and the header of the block that follows it.
    hint_bytes: usize,
    /// The last output was filled: more may be held.
    full: bool,
}

impl Frame {
    pub(super) fn new() -> Result<Self, Fault> {
        let mut context = DCtx::try_create().ok_or(Fault::Memory)?;
        context
            .set_parameter(DParameter::WindowLogMax(MEMORY_LOG2))
            .map_err(fault)?;
        Ok(Self {
            context,
            head: Vec::with_capacity(HEADER_BYTES),
            content_bytes: 0,
            hint_bytes: FIRST_HINT_BYTES,
            full: false,
        })
    }

    /// Gives the library one part at a time: a header, a block, a checksum. Both bytes and verdict
    /// would depend on how the input happens to come if it were given more: at a fault it drops what
    /// it has written in the same call, and a frame that is given whole, with room for all of it, is
    /// decoded in another way, with other rules for window and content size.
    pub(super) fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        if self.full {
            let step = self.call(&[], into);
            if step.given > 0 || step.then != Then::More {
                return step;
            }
        }
        let part = match self.hint_bytes.checked_sub(BLOCK_HEADER_BYTES) {
            None | Some(0) => self.hint_bytes,
            Some(bytes) => bytes,
        };
        self.call(input.get(..part).unwrap_or(input), into)
    }

    fn call(&mut self, part: &[u8], into: &mut [u8]) -> Step {
        let mut source = InBuffer::around(part);
        let mut output = OutBuffer::around(into);
        let outcome = self.context.decompress_stream(&mut output, &mut source);
        let (taken, given, room) = (source.pos(), output.pos(), output.capacity());
        let missing = HEADER_BYTES.saturating_sub(self.head.len());
        self.head.extend(part.iter().take(taken.min(missing)));
        self.content_bytes += given as u64;
        self.full = given == room;
        let then = match outcome {
            // The frame is decoded, checked and handed out.
            Ok(0) => self.end(),
            Ok(hint_bytes) => {
                self.hint_bytes = hint_bytes;
                Then::More
            }
            Err(code) => Then::Fault(fault(code)),
        };
        Step { taken, given, then }
    }

    /// The library does not compare the content size if the last block is empty.
    fn end(&mut self) -> Then {
        let stated = get_frame_content_size(&self.head);
        let sound = stated.is_ok_and(|bytes| bytes.is_none_or(|bytes| bytes == self.content_bytes));
        self.head.clear();
        (self.content_bytes, self.hint_bytes) = (0, FIRST_HINT_BYTES);
        if sound {
            Then::End
        } else {
            Then::Fault(Fault::Corrupt)
        }
    }
}

/// The numbers of these codes are kept stable by zstd; its functions return them negated.
fn fault(code: usize) -> Fault {
    const TABLE: [(Code, Fault); 7] = [
        (Code::ZSTD_error_checksum_wrong, Fault::Checksum),
        (
            Code::ZSTD_error_frameParameter_windowTooLarge,
            Fault::Memory,
        ),
        (Code::ZSTD_error_memory_allocation, Fault::Memory),
        (Code::ZSTD_error_dictionary_wrong, Fault::Unsupported),
        (
            Code::ZSTD_error_frameParameter_unsupported,
            Fault::Unsupported,
        ),
        (Code::ZSTD_error_version_unsupported, Fault::Unsupported),
        (Code::ZSTD_error_parameter_unsupported, Fault::Unsupported),
    ];
    let code = code.wrapping_neg();
    TABLE
        .iter()
        .find(|(known, _)| *known as usize == code)
        .map_or(Fault::Corrupt, |&(_, fault)| fault)
}
