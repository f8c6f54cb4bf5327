//! Encoding: the options, and the way from a picture to a file.

mod bands;
mod codes;
mod error;
mod geometry;
mod memory;
mod optimal;
pub(crate) mod quantiser;
mod segments;
mod source;
mod standard;
mod strip;
mod tokens;
mod writer;

pub use error::EncodeError;
pub use geometry::Sampling;
pub use memory::encode_memory_bytes;
pub use source::{PlaneView, RgbView, Source};

use bands::Bands;
use codes::TablePair;
use geometry::Geometry;
use segments::Segments;
use strip::Strip;
use tokens::{Statistics, Tokens};
use writer::{BitWriter, SLACK};

use crate::kernels::Kernels;
use crate::marker;

/// How to encode.
#[derive(Clone, Copy)]
pub struct EncodeOptions<'o> {
    /// 1 to 100, as libjpeg counts. Default 85: artefacts are hard to find, at a third of the bytes of 95.
    pub quality: u8,
    /// How many samples the colour differences of three components have. Default 4:2:0.
    pub sampling: Sampling,
    /// Whether the Huffman tables are made for the picture (T.81, annex K.2) or the standard's examples
    /// (annex K.3). Default `true`: files are some percent smaller, and cost no more time.
    pub optimal_tables: bool,
    /// A colour profile to put into the file. Default none, which means sRGB.
    pub icc_profile: Option<&'o [u8]>,
    /// Asked before each row of MCUs, and before each 64 KiB of what the rows became; encoding stops with
    /// [`EncodeError::Interrupted`] once it says `true`.
    pub interrupt: Option<&'o dyn Fn() -> bool>,
}

impl Default for EncodeOptions<'_> {
    fn default() -> Self {
        Self {
            quality: 85,
            sampling: Sampling::default(),
            optimal_tables: true,
            icc_profile: None,
            interrupt: None,
        }
    }
}

impl std::fmt::Debug for EncodeOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodeOptions")
            .field("quality", &self.quality)
            .field("sampling", &self.sampling)
            .field("optimal_tables", &self.optimal_tables)
            .field("icc_profile", &self.icc_profile.map(<[u8]>::len))
            .field("interrupt", &self.interrupt.map(|_| ".."))
            .finish()
    }
}

impl EncodeOptions<'_> {
    fn check_interrupt(&self) -> Result<(), EncodeError> {
        match self.interrupt {
            Some(asked) if asked() => Err(EncodeError::Interrupted),
            _ => Ok(()),
        }
    }
}

/// Encodes a picture as a baseline file of one scan.
///
/// The result is, byte for byte, what libjpeg-turbo writes with its default method (`islow`).
/// [`encode_memory_bytes`] tells beforehand how much memory this may take.
///
/// # Errors
///
/// [`EncodeError`]: sizes that don't fit each other or a file, a quality that is none, a profile that is too
/// long; `Interrupted` when [`EncodeOptions::interrupt`] asks for it.
///
/// ```
/// use larder_jpeg::{EncodeOptions, Header, RgbView, Source, encode};
///
/// let orange = [255, 128, 0].repeat(40 * 30);
/// let source = Source::Rgb(RgbView { width: 40, height: 30, stride: 120, samples: &orange });
/// let file = encode(&source, &EncodeOptions { quality: 90, ..EncodeOptions::default() })?;
/// assert_eq!(Header::read(&file)?.frame.width, 40);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode(source: &Source<'_>, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
    let geometry = source.geometry(options.sampling)?;
    if !(1..=100).contains(&options.quality) {
        return Err(EncodeError::Quality(options.quality));
    }
    let steps = [0, 1].map(|table| quantiser::steps(table, options.quality));
    let kinds = if geometry.components == 1 { 1 } else { 2 };

    let mut segments = Segments::new();
    if let Some(profile) = options.icc_profile {
        segments.profile(profile)?;
    }
    for (place, steps) in steps.iter().enumerate().take(kinds) {
        segments.quantisation(place, &quantiser::zigzag(steps));
    }
    segments.frame(&geometry);

    let (tokens, statistics) = transform(source, &geometry, &steps, options)?;
    let tables = [0, 1].map(|table| match options.optimal_tables {
        true => TablePair::optimal(&statistics[table]),
        false => TablePair::standard(table),
    });
    for (place, tables) in (0..).zip(&tables).take(kinds) {
        segments.tables(place, tables);
    }
    let bits = tables.iter().zip(&statistics).map(|(tables, statistics)| tables.bits(statistics)).sum();
    write(segments.scan(&geometry), bits, &tokens, &tables, &geometry, options)
}

/// The first pass: what the blocks say, and how often.
fn transform(
    source: &Source<'_>,
    geometry: &Geometry,
    steps: &[[u8; 64]; 2],
    options: &EncodeOptions<'_>,
) -> Result<(Tokens, [Statistics; 2]), EncodeError> {
    let kernels = Kernels::detect();
    let (across, down) = geometry.mcus();
    let mut bands = Bands::new(source, geometry, &kernels);
    let mut strip = Strip::new(steps, geometry, &kernels);
    let mut tokens = Tokens::new(across * down * geometry.blocks_per_mcu());
    let mut statistics = [Statistics::new(), Statistics::new()];
    for mcu_row in 0..down {
        options.check_interrupt()?;
        let planes = bands.row(mcu_row, geometry);
        for first in (0..across).step_by(strip::MCUS) {
            strip.encode(&planes, first, geometry, &mut tokens, &mut statistics);
        }
    }
    Ok((tokens, statistics))
}

/// The second pass: the blocks in codes, behind the segments, and EOI.
fn write(
    head: Vec<u8>,
    bits: u64,
    tokens: &Tokens,
    tables: &[TablePair; 2],
    geometry: &Geometry,
    options: &EncodeOptions<'_>,
) -> Result<Vec<u8>, EncodeError> {
    // As if a zero were stuffed behind each byte. What stays zero costs no memory if it is much: such pages
    // come into being when they are first written to.
    let scan_max = 2 * bits.div_ceil(8) as usize;
    let mut file = vec![0; head.len() + scan_max + SLACK];
    let (start, scan) = file.split_at_mut(head.len());
    start.copy_from_slice(&head);
    let mut writer = BitWriter::new(scan);
    // Which tables each block of an MCU has.
    let luma = geometry.blocks_per_mcu() + 1 - geometry.components;
    let mut blocks = (0..geometry.blocks_per_mcu()).map(|block| &tables[usize::from(block >= luma)]).cycle();
    for chunk in tokens.chunks() {
        options.check_interrupt()?;
        let mut rest = chunk;
        while let [count, dc, after @ ..] = rest {
            let Some(tables) = blocks.next() else { break };
            let (ac, after) = after.split_at(usize::from(*count) - 1);
            writer.put_block(*dc, ac, tables);
            rest = after;
        }
    }
    let end = head.len() + writer.finish();
    file[end..][..2].copy_from_slice(&[0xFF, marker::EOI]);
    file.truncate(end + 2);
    file.shrink_to_fit();
    Ok(file)
}
