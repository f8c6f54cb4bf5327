//! A strict JPEG decoder (ITU-T Rec. T.81) with scaled, planar output, and an encoder that takes planes as
//! they are: pure Rust, no dependencies, no I/O.
//!
//! ```
//! use larder_jpeg::{EncodeOptions, Header, Limits, Options, Scale, decode, encode};
//!
//! # let file = larder_jpeg::doc_example();
//! // Size, sampling, metadata, and what a decode would take: from the first segments alone.
//! let header = Header::read(&file)?;
//! let scale = Scale::reaching((header.frame.width, header.frame.height), (1, 1));
//! assert_eq!(scale, Scale::Eighth);
//! assert!(header.memory_bytes(scale) < 1_000_000);
//!
//! // The planes as they were coded; chroma keeps its own, smaller size.
//! let options = Options { scale, limits: Limits { max_pixels: 50_000_000, ..Limits::default() }, ..Options::default() };
//! let picture = decode(&file, &options)?;
//! assert_eq!(picture.planes[0].row(0), [128]);
//!
//! // And back into a file, without a conversion to RGB and its loss.
//! let (source, sampling) = picture.source().expect("grey, or YCbCr in a common sampling");
//! let smaller = encode(&source, &EncodeOptions { quality: 80, sampling, ..EncodeOptions::default() })?;
//! assert_eq!(Header::read(&smaller)?.frame.width, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The way of a file
//!
//! ```text
//!  bytes ──► marker ──► header, frame            size, components, metadata      (B.1, B.2)
//!              │
//!              ├──────► quantisation, huffman    tables, kept from scan to scan  (B.2.4)
//!              ▼
//!            scan       the MCUs of a scan, one row after another                (A.2, E.2)
//!              │
//!            bits       stuffed zeros removed; 64 bits ready                     (B.1.1.5)
//!              │
//!            lookup     code and magnitude at once                               (C.2, F.2.2)
//!              │
//!     ┌────────┼──────────────┐
//!     ▼        ▼              ▼
//!  dc_only  sequential   progressive             1/8, others, SOF2               (F.2, G.2)
//!     │        │              │ (coefficients of all scans)
//!     │        └──► reconstruct ◄──┘             dequantise and transform        (A.3.3, A.3.4)
//!     │                 │        ▲
//!     │                 │     kernels            plain, or AVX2 found at run time
//!     ▼                 ▼
//!            planes                              what `decode` gives
//!              │
//!     upsample, interleave                       grey or RGB, where that is wanted
//! ```
//!
//! A sequential file is transformed as it is read and holds nothing but its output and 64 blocks; a
//! progressive one holds all of its coefficients, at 1/8 only DC. [`Header::memory_bytes`] says how much.
//!
//! # The way of a picture
//!
//! ```text
//!    planes            RGB
//!       │               │
//!       │             bands      Y, Cb, Cr of a row of MCUs; Cb and Cr scaled down
//!       └──────┬────────┘
//!              ▼
//!            strip ◄── kernels   eight MCUs, transformed and quantised             (A.2, A.3)
//!              │
//!            tokens              runs and values; how often each symbol comes      (F.1.2)
//!              │
//!     optimal or standard        the Huffman tables                                (K.2, K.3)
//!              │
//!            codes, writer       bits, zeros stuffed                               (C.2, F.1.2.3)
//!              │
//!  bytes ◄── segments            what comes before the scan                        (B.2)
//! ```
//!
//! Planes are read where they lie and RGB is converted a row of MCUs at a time, so that only the tokens and the
//! file itself take memory: [`encode_memory_bytes`] says how much at most.
//!
//! # What is encoded
//!
//! Baseline files of one scan, grey or YCbCr in 4:4:4, 4:2:2 or 4:2:0, with libjpeg's qualities, and tables
//! made for the picture or those of the standard. They are those of libjpeg-turbo with its default method
//! (`islow`), byte for byte, from RGB too. A colour profile is written; no other metadata.
//!
//! # What is decoded
//!
//! Baseline, extended sequential and progressive files with Huffman codes and 8 bits a sample; 1 to 4
//! components with any sampling factors; restart markers; scans in any order that T.81 allows. Arithmetic
//! coding, the lossless and hierarchical processes, 12 bits, and a height told by DNL are refused by name
//! ([`Unsupported`]).
//!
//! Samples are those of libjpeg-turbo with its default method (`islow`, and the reduced transforms of
//! `jidctred` at 1/2, 1/4, 1/8), bit for bit: of damaged files too, as far as they are taken. All components have
//! the same scale.
//!
//! # What strict means
//!
//! [`decode`] gives the whole picture or an [`Error`] that says where; nothing is filled with grey.
//!
//! * A marker must follow SOI at once, and reserved ones (table B.1) may come nowhere.
//! * All segments must be there, up to and with EOI. Bytes behind it are of no interest (MPF, motion photos).
//! * Every code must exist and not be all ones, every coefficient lie in its band, and no MCU take bits beyond its
//!   segment.
//! * No coefficient may have more bits than 8-bit samples can give it (F.1.2), and no DC coefficient times its step
//!   reach four times what they can: from there on decoders do not agree on what comes out.
//! * Restart markers must come where the interval says, and in turn.
//! * Behind the last MCU of a scan or restart interval only zero bytes may be left.
//! * Components must each have their scans, once; progressive scans must follow from one another, until every
//!   coefficient of every component was sent to its last bit (G.1.1.1.2). A file whose last scans are missing looks
//!   whole otherwise, and other decoders make up for them by smoothing.
//!
//! At 1/8 of a sequential file all of this holds too: AC coefficients are decoded as far as it takes to find
//! the next block. At 1/8 of a **progressive** file only the DC scans are decoded. The headers of AC scans
//! are checked as always, so that one that is missing is noticed; their data is only passed over to the next
//! marker: a cut file is still refused, damage within that data is not noticed.
//!
//! Tolerated, since cameras and encoders do it and nothing of the picture is missing: bytes between segments
//! that are no marker; a restart marker behind a scan; band and bits of a sequential scan's header that are
//! not `0, 63, 0, 0`.
//!
//! What a decoder can't know: bits that were changed into other valid ones.

mod bits;
mod dc_only;
mod decoder;
mod encode;
mod error;
mod frame;
mod header;
mod huffman;
mod interleave;
mod kernels;
mod limits;
mod lookup;
mod marker;
mod planes;
mod progressive;
mod quantisation;
mod reconstruct;
mod scan;
mod sequential;
mod upsample;

pub use encode::{
    EncodeError, EncodeOptions, PlaneView, RgbView, Sampling, Source, encode, encode_memory_bytes,
};
pub use error::{Error, Location, Unsupported};
pub use frame::{Component, Frame, Scale};
pub use header::{AppSegment, ColorModel, Header};
pub use interleave::{Interleaved, ycbcr_to_rgb};
pub use limits::Limits;
pub use planes::{Plane, Planes};

use error::Damage;

/// How to decode.
#[derive(Clone, Copy, Default)]
pub struct Options<'o> {
    /// How large the result is. Default: as coded.
    pub scale: Scale,
    /// What the file may ask for.
    pub limits: Limits,
    /// Asked before each row of MCUs of each scan, and before each row of blocks of a progressive file's
    /// transform; decoding stops with [`Error::Interrupted`] once it says `true`.
    pub interrupt: Option<&'o dyn Fn() -> bool>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("scale", &self.scale)
            .field("limits", &self.limits)
            .field("interrupt", &self.interrupt.map(|_| ".."))
            .finish()
    }
}

/// Decodes a whole file.
///
/// # Errors
///
/// Every [`Error`]: among them `Truncated` and `Corrupt` with a [`Location`], `LimitExceeded` before the memory
/// or time is spent, `Interrupted` when [`Options::interrupt`] asks for it.
///
/// ```
/// use larder_jpeg::{Error, Options, decode};
///
/// # let file = larder_jpeg::doc_example();
/// assert!(decode(&file, &Options::default()).is_ok());
/// let cut = &file[..file.len() - 1];
/// assert!(matches!(decode(cut, &Options::default()), Err(Error::Truncated(_))));
/// ```
pub fn decode(bytes: &[u8], options: &Options<'_>) -> Result<Planes, Error> {
    decoder::decode(&Header::read(bytes)?, options)
}

/// A grey picture of 8x8 pixels, for examples.
#[doc(hidden)]
pub fn doc_example() -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8];
    let mut segment = |marker: u8, content: &[u8]| {
        file.extend([0xFF, marker, 0, content.len() as u8 + 2]);
        file.extend(content);
    };
    segment(0xDB, &[&[0_u8][..], &[16; 64]].concat());
    segment(0xC0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
    // One code of one bit in each table: a difference of zero, and the end of the block.
    let table = |class: u8| [&[class, 1][..], &[0; 16]].concat();
    segment(0xC4, &table(0x00));
    segment(0xC4, &table(0x10));
    segment(0xDA, &[1, 1, 0, 0, 63, 0]);
    file.extend([0x3F, 0xFF, 0xD9]);
    file
}
