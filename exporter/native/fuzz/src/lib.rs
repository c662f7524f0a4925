//! What the fuzz targets hold the native engine against.
//!
//! Knows: what must be true of any bytes whatsoever, and slow, simple forms of the small encodings,
//! written from the format's definition alone. Refuses to know: how the engine does it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod framing;
pub mod pieces;
pub mod properties;
