//! The items of an AVIF file: which is the picture, what is its transparency, how it is turned
//! (ISO/IEC 23008-12, AV1 Image File Format 1.1).

use std::borrow::Cow;

use super::boxes::{Block, Fields, blocks, damaged};
use crate::{Error, Orientation};

/// Items and properties of a file. A picture in tiles with thumbnails has some hundred.
const ITEMS_MAX: usize = 1_024;
const PROPERTIES_MAX: usize = 1_024;
/// Pieces that the bytes of an item may lie in.
const EXTENTS_MAX: usize = 1_024;

/// Names that mark an auxiliary picture as transparency (AVIF 1.1, section 4.1, and HEIF).
const ALPHA_NAMES: &[&[u8]] =
    &[b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];

/// Colour as numbers (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cicp {
    pub primaries: u16,
    pub transfer: u16,
    pub matrix: u16,
    pub full_range: bool,
}

/// What a file holds of the picture.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub width: u32,
    pub height: u32,
    pub orientation: Orientation,
    pub icc: Option<&'a [u8]>,
    pub cicp: Option<Cicp>,
    /// The AV1 bitstream of the colours.
    pub color: Cow<'a, [u8]>,
    /// The AV1 bitstream of the transparency.
    pub alpha: Option<Cow<'a, [u8]>>,
    /// Whether the colours are multiplied by it.
    pub premultiplied: bool,
    pub has_gps: bool,
}

/// The parts of the box `meta`.
#[derive(Default)]
struct Meta<'a> {
    primary: u32,
    items: Vec<Item>,
    properties: Vec<Block<'a>>,
    references: Vec<Reference>,
    data: &'a [u8],
}

#[derive(Default)]
struct Item {
    id: u32,
    kind: [u8; 4],
    /// Whether its bytes lie in the box `idat` instead of anywhere in the file.
    in_meta: bool,
    /// Offset and length of each piece.
    extents: Vec<(u64, u64)>,
    /// Index of each property, and whether it must be understood.
    properties: Vec<(usize, bool)>,
}

struct Reference {
    kind: [u8; 4],
    from: u32,
    to: u32,
}

pub(super) fn size(head: &[u8]) -> Option<(u32, u32)> {
    // The box of items is cut if the head ends within it: then it says nothing yet.
    let meta = read_meta(head).ok()?;
    let primary = meta.item(meta.primary)?;
    meta.size(primary).ok()
}

pub(super) fn read(bytes: &[u8]) -> Result<Container<'_>, Error> {
    let meta = read_meta(bytes)?;
    let primary = meta.item(meta.primary).ok_or_else(|| damaged("its picture is not there"))?;
    match &primary.kind {
        b"av01" => {}
        b"grid" => return Err(Error::unsupported("AVIF in tiles (grid)")),
        _ => return Err(Error::unsupported("AVIF whose picture is not AV1")),
    }
    let (width, height) = meta.size(primary)?;
    let mut container = Container {
        width,
        height,
        orientation: Orientation::UPRIGHT,
        icc: None,
        cicp: None,
        color: meta.bytes(primary, bytes)?,
        alpha: None,
        premultiplied: false,
        has_gps: meta.has_gps(primary.id, bytes),
    };
    container.apply(&meta, primary)?;
    if let Some(alpha) = meta.alpha_of(primary.id) {
        if meta.size(alpha)? != (width, height) {
            return Err(damaged("picture and transparency differ in size"));
        }
        container.alpha = Some(meta.bytes(alpha, bytes)?);
        container.premultiplied = meta.refers(b"prem", primary.id, alpha.id);
    }
    Ok(container)
}

impl<'a> Container<'a> {
    fn apply(&mut self, meta: &Meta<'a>, item: &Item) -> Result<(), Error> {
        for (property, essential) in meta.properties_of(item) {
            match (&property.kind, property.content) {
                // Turns are counted anticlockwise (ISO/IEC 23008-12, section 6.5.10).
                (b"irot", [turns, ..]) => {
                    self.orientation = self.orientation.then(Orientation::turn(4 - (turns & 3)));
                }
                // 0 exchanges top and bottom, 1 left and right (section 6.5.12).
                (b"imir", [axis, ..]) => {
                    let sideways = axis & 1 == 1;
                    self.orientation = self.orientation.then(Orientation::mirror(sideways, !sideways));
                }
                (b"colr", content) => self.color_information(content)?,
                (b"clap", _) => return Err(Error::unsupported("AVIF with a clean aperture")),
                (b"ispe" | b"pixi" | b"av1C" | b"pasp" | b"auxC", _) => {}
                // Which layer to show of a picture that has one layer.
                (b"a1op" | b"lsel", [0] | [0, 0] | [0xFF, 0xFF]) => {}
                (kind, _) if essential => {
                    let name = String::from_utf8_lossy(&kind[..]).into_owned();
                    return Err(Error::unsupported(format!("AVIF with the property {name}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn color_information(&mut self, content: &'a [u8]) -> Result<(), Error> {
        let mut fields = Fields::new(content);
        match fields.take(4)? {
            b"prof" | b"rICC" => self.icc = Some(fields.rest()),
            b"nclx" => {
                let (primaries, transfer, matrix) = (fields.u16()?, fields.u16()?, fields.u16()?);
                let full_range = fields.u8()? & 0x80 != 0;
                self.cicp = Some(Cicp { primaries, transfer, matrix, full_range });
            }
            _ => {}
        }
        Ok(())
    }
}

fn read_meta(bytes: &[u8]) -> Result<Meta<'_>, Error> {
    let mut meta = None;
    for block in blocks(bytes) {
        match block {
            Ok(block) if &block.kind == b"meta" => {
                meta = Some(block);
                break;
            }
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    let block = meta.ok_or_else(|| Error::unsupported("AVIF without a still picture"))?;
    let mut fields = Fields::new(block.content);
    fields.version()?;
    let mut meta = Meta::default();
    for block in blocks(fields.rest()) {
        let block = block?;
        match &block.kind {
            b"pitm" => meta.primary = id_by_version(&mut Fields::new(block.content))?,
            b"iinf" => meta.read_items(block.content)?,
            b"iloc" => meta.read_locations(block.content)?,
            b"iprp" => meta.read_properties(block.content)?,
            b"iref" => meta.read_references(block.content)?,
            b"idat" => meta.data = block.content,
            _ => {}
        }
    }
    Ok(meta)
}

/// An item's number, of 16 bits in version 0 of a box and of 32 later.
fn id_by_version(fields: &mut Fields<'_>) -> Result<u32, Error> {
    let (version, _) = fields.version()?;
    if version == 0 { fields.u16().map(u32::from) } else { fields.u32() }
}

impl<'a> Meta<'a> {
    fn item(&self, id: u32) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    /// The item of this number, which the boxes may mention in any order.
    fn item_mut(&mut self, id: u32) -> Result<&mut Item, Error> {
        if let Some(index) = self.items.iter().position(|item| item.id == id) {
            return Ok(&mut self.items[index]);
        }
        if self.items.len() >= ITEMS_MAX {
            return Err(damaged("it has too many items"));
        }
        self.items.push(Item { id, ..Item::default() });
        let last = self.items.len() - 1;
        Ok(&mut self.items[last])
    }

    fn read_items(&mut self, content: &'a [u8]) -> Result<(), Error> {
        let mut fields = Fields::new(content);
        let (version, _) = fields.version()?;
        let _count = if version == 0 { u32::from(fields.u16()?) } else { fields.u32()? };
        for block in blocks(fields.rest()) {
            let block = block?;
            if &block.kind != b"infe" {
                continue;
            }
            let mut fields = Fields::new(block.content);
            let (version, _) = fields.version()?;
            let id = match version {
                2 => u32::from(fields.u16()?),
                3 => fields.u32()?,
                _ => return Err(damaged("an item of an old kind")),
            };
            fields.u16()?; // Protection, which pictures do not have.
            let kind = fields.take(4)?;
            self.item_mut(id)?.kind.copy_from_slice(kind);
        }
        Ok(())
    }

    fn read_locations(&mut self, content: &'a [u8]) -> Result<(), Error> {
        let mut fields = Fields::new(content);
        let (version, _) = fields.version()?;
        let sizes = fields.u16()?;
        let nibble = |shift: u16| (sizes >> shift & 15) as u8;
        let (offset_size, length_size, base_size) = (nibble(12), nibble(8), nibble(4));
        let index_size = if version == 0 { 0 } else { nibble(0) };
        let count = if version < 2 { u32::from(fields.u16()?) } else { fields.u32()? };
        for _ in 0..count {
            let id = if version < 2 { u32::from(fields.u16()?) } else { fields.u32()? };
            let method = if version == 0 { 0 } else { fields.u16()? & 15 };
            if method > 1 {
                return Err(Error::unsupported("AVIF with data built from other items"));
            }
            if fields.u16()? != 0 {
                return Err(Error::unsupported("AVIF with data in another file"));
            }
            let base = fields.sized(base_size)?;
            let extents = fields.u16()?;
            let item = self.item_mut(id)?;
            item.in_meta = method == 1;
            for _ in 0..extents {
                fields.sized(index_size)?;
                let offset = fields.sized(offset_size)?;
                let length = fields.sized(length_size)?;
                if item.extents.len() >= EXTENTS_MAX {
                    return Err(damaged("an item lies in too many pieces"));
                }
                item.extents.push((base.saturating_add(offset), length));
            }
        }
        Ok(())
    }

    fn read_properties(&mut self, content: &'a [u8]) -> Result<(), Error> {
        for block in blocks(content) {
            let block = block?;
            match &block.kind {
                b"ipco" => {
                    self.properties = blocks(block.content).take(PROPERTIES_MAX).collect::<Result<_, _>>()?;
                }
                b"ipma" => self.read_associations(block.content)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_associations(&mut self, content: &'a [u8]) -> Result<(), Error> {
        let mut fields = Fields::new(content);
        let (version, flags) = fields.version()?;
        for _ in 0..fields.u32()? {
            let id = if version == 0 { u32::from(fields.u16()?) } else { fields.u32()? };
            let count = fields.u8()?;
            let item = self.item_mut(id)?;
            for _ in 0..count {
                let (essential, index) = if flags & 1 == 1 {
                    let word = fields.u16()?;
                    (word & 0x8000 != 0, word & 0x7FFF)
                } else {
                    let byte = fields.u8()?;
                    (byte & 0x80 != 0, u16::from(byte & 0x7F))
                };
                // Counted from 1; 0 stands for none.
                if let Some(index) = usize::from(index).checked_sub(1) {
                    item.properties.push((index, essential));
                }
            }
            if item.properties.len() > PROPERTIES_MAX {
                return Err(damaged("an item has too many properties"));
            }
        }
        Ok(())
    }

    fn read_references(&mut self, content: &'a [u8]) -> Result<(), Error> {
        let mut fields = Fields::new(content);
        let (version, _) = fields.version()?;
        for block in blocks(fields.rest()) {
            let block = block?;
            let mut fields = Fields::new(block.content);
            let id = |fields: &mut Fields<'_>| match version {
                0 => fields.u16().map(u32::from),
                _ => fields.u32(),
            };
            let from = id(&mut fields)?;
            for _ in 0..fields.u16()? {
                let to = id(&mut fields)?;
                if self.references.len() >= ITEMS_MAX {
                    return Err(damaged("it has too many references"));
                }
                self.references.push(Reference { kind: block.kind, from, to });
            }
        }
        Ok(())
    }

    fn properties_of(&self, item: &Item) -> impl Iterator<Item = (Block<'a>, bool)> {
        item.properties
            .iter()
            .filter_map(|&(index, essential)| Some((*self.properties.get(index)?, essential)))
    }

    fn size(&self, item: &Item) -> Result<(u32, u32), Error> {
        let mut properties = self.properties_of(item);
        let (extent, _) = properties
            .find(|(property, _)| &property.kind == b"ispe")
            .ok_or_else(|| damaged("its picture has no size"))?;
        let mut fields = Fields::new(extent.content);
        fields.version()?;
        let size = (fields.u32()?, fields.u32()?);
        if size.0 == 0 || size.1 == 0 { Err(damaged("its picture has no pixels")) } else { Ok(size) }
    }

    fn refers(&self, kind: &[u8; 4], from: u32, to: u32) -> bool {
        self.references.iter().any(|there| &there.kind == kind && there.from == from && there.to == to)
    }

    fn alpha_of(&self, primary: u32) -> Option<&Item> {
        let auxiliary = self.items.iter().filter(|item| {
            &item.kind == b"av01" && item.id != primary && self.refers(b"auxl", item.id, primary)
        });
        auxiliary.into_iter().find(|item| {
            self.properties_of(item).any(|(property, _)| {
                let name = property.content.get(4..).unwrap_or_default();
                &property.kind == b"auxC" && ALPHA_NAMES.iter().any(|known| name.starts_with(known))
            })
        })
    }

    fn has_gps(&self, primary: u32, bytes: &'a [u8]) -> bool {
        let described = self.items.iter().filter(|item| self.refers(b"cdsc", item.id, primary));
        described.filter_map(|item| Some((item.kind, self.bytes(item, bytes).ok()?))).any(|(kind, data)| {
            match &kind {
                b"Exif" => exif_block(&data).is_some_and(|block| crate::exif::read(block).has_gps),
                b"mime" => crate::metadata::xmp_tells_place(&data),
                _ => false,
            }
        })
    }

    /// The bytes of an item; a piece beyond the file's end means that the file is cut.
    fn bytes(&self, item: &Item, file: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        let holder = if item.in_meta { self.data } else { file };
        let piece = |&(offset, length): &(u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            let rest = holder.get(start..)?;
            // A length of 0 means all that is left.
            if length == 0 { Some(rest) } else { rest.get(..usize::try_from(length).ok()?) }
        };
        let pieces: Option<Vec<&'a [u8]>> = item.extents.iter().map(piece).collect();
        match pieces.ok_or_else(|| damaged("it is cut"))?.as_slice() {
            [] => Err(damaged("an item has no data")),
            [one] => Ok(Cow::Borrowed(one)),
            many => {
                let total: usize = many.iter().map(|piece| piece.len()).sum();
                if total > file.len() {
                    return Err(damaged("an item is larger than the file"));
                }
                Ok(Cow::Owned(many.concat()))
            }
        }
    }
}

/// The EXIF block of an item: behind four bytes that say how far behind them (section A.2.1).
fn exif_block(data: &[u8]) -> Option<&[u8]> {
    let skip = crate::formats::reader::u32_be(data, 0)? as usize;
    data.get(4..)?.get(skip..)
}
