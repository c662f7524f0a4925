//! What the fuzz targets hold the native engine against.
//!
//! Knows: what must be true of any bytes whatsoever, and slow, simple forms of the small encodings,
//! written from the format's definition alone. Refuses to know: how the engine does it.
//!
//! Everything here may panic: that is how a target tells the fuzzer that something is wrong.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod blobs;
pub mod containers;
pub mod framing;
pub mod mending;
pub mod oracle;
pub mod pieces;
pub mod properties;
