//! The Python module, and all that knows Python, descriptors and time.

use std::cell::{Cell, OnceCell, RefCell};
use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyMemoryView, PySlice};

use crate::tally::Facts;
use crate::verify::{self, Counts, Depth, Options, Report};

/// The caller hears from us at least so often,
const TICK: Duration = Duration::from_millis(50);
/// and after so many bytes.
const TICK_BYTES: u64 = 32 << 20;
/// What an object is asked for at once, at most.
const ROOM: usize = 64 << 10;
/// A sleep for the rate limit is cut into such pieces.
const NAP: Duration = Duration::from_millis(20);
/// So much of a pause may be made up for.
const CREDIT: Duration = Duration::from_millis(100);

/// The native engine of redis-backup-exporter.
#[pymodule]
#[pyo3(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(read, module)?)
}

/// Reads one RDB to its end; see `exporter/_native.pyi`.
#[pyfunction]
#[pyo3(signature = (
    source, *, depth, tick, timeout_seconds, memory_bytes, duplicates_bytes, part,
    bytes_per_second, block_bytes, suspect=None
))]
#[allow(clippy::too_many_arguments)] // one coarse call, and all of them by name
fn read<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    depth: &str,
    tick: Py<PyAny>,
    timeout_seconds: f64,
    memory_bytes: u64,
    duplicates_bytes: usize,
    part: u64,
    bytes_per_second: u64,
    block_bytes: usize,
    suspect: Option<u64>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let options = Options {
        depth: match depth {
            "checksum" => Depth::Checksum,
            "structure" => Depth::Structure,
            "full" => Depth::Full,
            _ => return Err(PyValueError::new_err("depth: checksum, structure or full")),
        },
        block_bytes: block_bytes.clamp(1, 64 << 20),
        memory_bytes,
        duplicates_bytes,
        part,
        suspect,
    };
    let timeout = if timeout_seconds == 0.0 {
        None
    } else {
        Some(
            Duration::try_from_secs_f64(timeout_seconds)
                .map_err(|_| PyValueError::new_err("timeout_seconds is no time"))?,
        )
    };
    let from = match source.extract::<RawFd>() {
        Ok(fd) => From::Descriptor(fd),
        Err(_) => From::Object(source.clone().unbind(), OnceCell::new()),
    };
    let outcome = py.detach(move || {
        let clock = Rc::new(Clock::new(tick, timeout, bytes_per_second));
        let input = Input {
            from,
            clock: Rc::clone(&clock),
        };
        let pulse = Rc::clone(&clock);
        // A bug must end in a report: the sidecar goes on, and says so.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            verify::read(input, &options, Rc::new(move || pulse.beat()))
        }));
        let seconds = clock.started.elapsed().as_secs_f64();
        let outcome = match caught {
            Ok(Ok(report)) => Outcome::Report(Box::new(report)),
            Ok(Err(error)) => Outcome::of(error),
            Err(_) => Outcome::Bug,
        };
        (outcome, clock.bytes.get(), seconds)
    });
    let (outcome, bytes, seconds) = outcome;
    let dict = match outcome {
        Outcome::Report(report) => to_dict(py, &report)?,
        Outcome::Cancelled => return Ok(None),
        Outcome::TimedOut => unproven(
            py,
            "timeout",
            &format!("not read within the limit of {timeout_seconds} s"),
        )?,
        Outcome::Bug => unproven(py, "unreadable", "this engine could not read it (a bug)")?,
        Outcome::Raised(error) => return Err(error),
        Outcome::Failed(error) => {
            return Err(match error.raw_os_error() {
                Some(errno) => PyOSError::new_err((errno, error_text(errno))),
                None => PyOSError::new_err(error.to_string()),
            });
        }
    };
    dict.set_item("bytes", bytes)?;
    dict.set_item("seconds", seconds)?;
    dict.set_item("engine", "native")?;
    // More than a checksum was read where there is none.
    let walked = dict.contains("keys")?;
    let done = if depth == "checksum" && walked {
        "structure"
    } else {
        depth
    };
    dict.set_item("depth", done)?;
    Ok(Some(dict))
}

fn error_text(errno: i32) -> &'static str {
    Errno::from_raw(errno).desc()
}

/// How a reading ended.
enum Outcome {
    Report(Box<Report>),
    Cancelled,
    TimedOut,
    Raised(PyErr),
    Failed(io::Error),
    Bug,
}

impl Outcome {
    fn of(error: io::Error) -> Self {
        match error.downcast::<Halt>() {
            Ok(Halt::Cancelled) => Self::Cancelled,
            Ok(Halt::TimedOut) => Self::TimedOut,
            Ok(Halt::Raised(error)) => Self::Raised(error),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Why we stop that is not the input's fault, on its way through the decoders.
#[derive(Debug)]
enum Halt {
    Cancelled,
    TimedOut,
    Raised(PyErr),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reading was given up")
    }
}

impl Error for Halt {}

/// When the caller is asked, when time is over, and how fast we may read.
struct Clock {
    tick: Py<PyAny>,
    started: Instant,
    deadline: Option<Instant>,
    bytes_per_second: u64,
    /// Bytes of the input so far, as stored.
    bytes: Cell<u64>,
    told: RefCell<(Instant, u64)>,
    /// Seconds in which nothing could be read: they are not made up for by reading faster.
    idle: Cell<f64>,
}

impl Clock {
    fn new(tick: Py<PyAny>, timeout: Option<Duration>, bytes_per_second: u64) -> Self {
        let started = Instant::now();
        Self {
            tick,
            started,
            deadline: timeout.and_then(|timeout| started.checked_add(timeout)),
            bytes_per_second,
            bytes: Cell::new(0),
            told: RefCell::new((started, 0)),
            idle: Cell::new(0.0),
        }
    }

    /// Asks the caller, where it is time.
    fn beat(&self) -> io::Result<()> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(io::Error::other(Halt::TimedOut));
        }
        let bytes = self.bytes.get();
        let (told, told_bytes) = *self.told.borrow();
        if now.duration_since(told) < TICK && bytes - told_bytes < TICK_BYTES {
            return Ok(());
        }
        self.told.replace((now, bytes));
        let answer = Python::attach(|py| self.tick.call1(py, (bytes,))?.is_truthy(py));
        match answer {
            Ok(false) => Ok(()),
            Ok(true) => Err(io::Error::other(Halt::Cancelled)),
            Err(error) => Err(io::Error::other(Halt::Raised(error))),
        }
    }

    /// Waits until as many bytes as were read may have been read.
    fn pace(&self) -> io::Result<()> {
        if self.bytes_per_second == 0 {
            return Ok(());
        }
        #[allow(clippy::cast_precision_loss)] // of a time
        let due = self.bytes.get() as f64 / self.bytes_per_second as f64 + self.idle.get();
        let late = self.started.elapsed().as_secs_f64() - due - CREDIT.as_secs_f64();
        if late > 0.0 {
            self.idle.set(self.idle.get() + late);
        }
        loop {
            let early = due - self.started.elapsed().as_secs_f64();
            let Ok(early) = Duration::try_from_secs_f64(early) else {
                return Ok(());
            };
            if early.is_zero() {
                return Ok(());
            }
            thread::sleep(early.min(NAP));
            self.beat()?;
        }
    }
}

/// Where bytes come from.
enum From {
    /// A regular file, from its position on.
    Descriptor(RawFd),
    /// Anything with `readinto`, and the room that it reads into.
    Object(Py<PyAny>, OnceCell<Py<PyByteArray>>),
}

struct Input {
    from: From,
    clock: Rc<Clock>,
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.clock.pace()?;
        self.clock.beat()?;
        let got = match &self.from {
            From::Descriptor(fd) => loop {
                match nix::unistd::read(*fd, into) {
                    Err(Errno::EINTR) => {}
                    other => break other.map_err(io::Error::from)?,
                }
            },
            From::Object(object, room) => Python::attach(|py| read_object(py, object, room, into))
                .map_err(|error| io::Error::other(Halt::Raised(error)))?,
        };
        self.clock.bytes.set(self.clock.bytes.get() + got as u64);
        Ok(got)
    }
}

/// Through `room`, which is made once: of what Python gives, safe code may only take a copy.
fn read_object(
    py: Python<'_>,
    object: &Py<PyAny>,
    room: &OnceCell<Py<PyByteArray>>,
    into: &mut [u8],
) -> PyResult<usize> {
    let room = match room.get() {
        Some(room) => room.bind(py).clone(),
        None => {
            let made = PyByteArray::new_with(py, ROOM, |_| Ok(()))?;
            room.get_or_init(|| made.unbind()).bind(py).clone()
        }
    };
    let wanted = into.len().min(ROOM);
    let view = PyMemoryView::from(room.as_any())?;
    let view = view.get_item(PySlice::new(py, 0, wanted.try_into()?, 1))?;
    let got: usize = object.call_method1(py, "readinto", (&view,))?.extract(py)?;
    let Some(into) = into.get_mut(..got).filter(|_| got <= wanted) else {
        return Err(PyRuntimeError::new_err(
            "readinto() gave more than there was room for",
        ));
    };
    // PyBuffer would copy byte by byte, five times slower than the whole of it twice.
    if let Some(bytes) = room.to_vec().get(..got) {
        into.copy_from_slice(bytes);
    }
    Ok(got)
}

fn unproven<'py>(py: Python<'py>, status: &str, reason: &str) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("status", status)?;
    dict.set_item("reason", reason)?;
    Ok(dict)
}

/// The report in the words of `verify --json`.
fn to_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("status", report.status.code())?;
    dict.set_item("reason", report.reason.as_deref())?;
    dict.set_item("offset", report.offset)?;
    dict.set_item("rdb_version", report.magic.map(|magic| magic.version))?;
    dict.set_item("dialect", report.dialect().map(|dialect| dialect.code()))?;
    dict.set_item("checksum", report.checksum.map(|checksum| checksum.code()))?;
    dict.set_item("crc64", report.crc64.map(|crc| format!("{crc:016x}")))?;
    dict.set_item("compression", report.compression)?;
    if let Some(counts) = &report.counts {
        if report.reason.is_some() {
            dict.set_item("key_index", counts.keys)?;
        }
        set_counts(&dict, counts)?;
        set_facts(&dict, &counts.facts)?;
    }
    Ok(dict)
}

fn set_facts(dict: &Bound<'_, PyDict>, facts: &Facts) -> PyResult<()> {
    dict.set_item("server_version", facts.server_version.as_deref())?;
    dict.set_item("ctime", facts.ctime)?;
    dict.set_item("used_mem", facts.used_mem)?;
    dict.set_item("repl_id", facts.repl_id.as_deref())?;
    dict.set_item("repl_offset", facts.repl_offset)?;
    dict.set_item("aof_base", facts.aof_base)
}

fn set_counts(dict: &Bound<'_, PyDict>, counts: &Counts) -> PyResult<()> {
    let py = dict.py();
    dict.set_item("keys", counts.keys)?;
    let expires: u64 = counts
        .keys_by_db
        .iter()
        .map(|(_, _, expires)| expires)
        .sum();
    dict.set_item("expires", expires)?;
    let keys_by_db = PyDict::new(py);
    for (database, keys, expires) in &counts.keys_by_db {
        let row = PyDict::new(py);
        row.set_item("keys", keys)?;
        row.set_item("expires", expires)?;
        keys_by_db.set_item(database.to_string(), row)?;
    }
    dict.set_item("keys_by_db", keys_by_db)?;
    let keys_by_type = PyDict::new(py);
    for (kind, keys) in &counts.keys_by_type {
        keys_by_type.set_item(kind, keys)?;
    }
    dict.set_item("keys_by_type", keys_by_type)?;
    let mut findings = Vec::new();
    for found in &counts.findings {
        let row = PyDict::new(py);
        row.set_item("kind", found.odd.code())?;
        row.set_item("count", found.count)?;
        row.set_item("offset", found.offset)?;
        findings.push(row);
    }
    dict.set_item("findings", findings)?;
    let needs = PyDict::new(py);
    needs.set_item("modules", &counts.needs.modules)?;
    needs.set_item("databases", counts.needs.databases)?;
    needs.set_item("functions", counts.needs.functions)?;
    needs.set_item("cluster", counts.needs.cluster)?;
    needs.set_item("resizedb", counts.needs.resizedb)?;
    dict.set_item("needs", needs)?;
    dict.set_item("functions", counts.needs.functions)?;
    dict.set_item("suspect", counts.suspect)?;
    if !counts.full {
        return Ok(());
    }
    let searched = PyDict::new(py);
    searched.set_item("part", counts.share.part + 1)?;
    searched.set_item("of", counts.share.of)?;
    dict.set_item("duplicates_searched", searched)
}
