//! The colours of a picture, if a palette can hold them.

use crate::picture::{Channels, Picture};
use crate::{Deadline, Error};

/// Most colours of a palette (PNG third edition, section 11.2.2).
pub(super) const COLORS_MAX: usize = 256;

/// Twice the most colours, so that a look-up seldom meets another colour on its way.
const SLOTS: usize = 2 * COLORS_MAX;

/// Red, green, blue, alpha.
pub(super) type Color = [u8; 4];

/// At most 256 colours, each with its place.
pub(super) struct Colors {
    list: Vec<Color>,
    /// At the hash of a colour or behind it, its place plus one; 0 where nothing is. Half of the slots
    /// stay free, so each search ends.
    slots: [u16; SLOTS],
}

impl Colors {
    /// `None` as soon as there is one too many, which in a photo is after a few rows.
    ///
    /// # Errors
    /// [`Error::TimedOut`]: colours chosen to share a slot make the count slow.
    pub fn of(picture: &Picture, deadline: Deadline) -> Result<Option<Self>, Error> {
        let mut colors = Self::from_list([])?;
        for y in 0..picture.height() {
            deadline.check()?;
            let row = picture.row(y);
            let fit = match picture.channels() {
                Channels::Grey => colors.add_all::<1>(row),
                Channels::Rgb => colors.add_all::<3>(row),
                Channels::Rgba => colors.add_all::<4>(row),
            };
            if !fit {
                return Ok(None);
            }
        }
        Ok(Some(colors))
    }

    /// The same colours, those with alpha first, so that the list of alphas ends with the last of them.
    pub fn transparent_first(self) -> Result<Self, Error> {
        let (opaque, transparent): (Vec<Color>, _) = self.list.into_iter().partition(|color| color[3] == 255);
        Self::from_list([transparent, opaque].concat())
    }

    fn from_list(list: impl IntoIterator<Item = Color>) -> Result<Self, Error> {
        let mut colors = Self { list: Vec::with_capacity(COLORS_MAX), slots: [0; SLOTS] };
        match list.into_iter().all(|color| colors.add(color)) {
            true => Ok(colors),
            false => Err(Error::internal("more colours than a palette has")),
        }
    }

    pub fn list(&self) -> &[Color] {
        &self.list
    }

    /// The place of a colour; 0 for one that the picture does not have.
    pub fn place(&self, color: Color) -> u8 {
        self.find(color).unwrap_or(0) as u8
    }

    /// Adds the pixels of a row; false if there are too many colours.
    fn add_all<const CHANNELS: usize>(&mut self, row: &[u8]) -> bool {
        let mut last = None;
        row.as_chunks::<CHANNELS>().0.iter().all(|pixel| {
            last == Some(pixel) || {
                last = Some(pixel);
                self.add(color(pixel))
            }
        })
    }

    /// Whether the colour is in the list now.
    fn add(&mut self, color: Color) -> bool {
        match self.find(color) {
            Ok(_) => true,
            Err(_) if self.list.len() == COLORS_MAX => false,
            Err(slot) => {
                self.list.push(color);
                self.slots[slot] = self.list.len() as u16;
                true
            }
        }
    }

    /// The place of a colour, or the slot where it belongs.
    fn find(&self, color: Color) -> Result<usize, usize> {
        // 2^32 by the golden ratio: spreads colours that differ little (Knuth, volume 3, section 6.4).
        let hash = u32::from_le_bytes(color).wrapping_mul(0x9E37_79B1);
        let mut slot = (hash >> (u32::BITS - SLOTS.ilog2())) as usize;
        loop {
            match usize::from(self.slots[slot]) {
                0 => return Err(slot),
                place if self.list[place - 1] == color => return Ok(place - 1),
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }
}

/// The colour of a pixel of one (grey), three or four channels.
pub(super) fn color<const CHANNELS: usize>(pixel: &[u8; CHANNELS]) -> Color {
    match *pixel.as_slice() {
        [tone] => [tone, tone, tone, 255],
        [r, g, b] => [r, g, b, 255],
        [r, g, b, a] => [r, g, b, a],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    fn picture(list: &[Color]) -> Picture {
        Picture::new(list.len() as u32, 1, Channels::Rgba, list.concat())
    }

    /// So many colours, no two alike.
    fn some(count: u16) -> Vec<Color> {
        (0..count).map(|n| [n as u8, (n >> 8) as u8, 7, n as u8 ^ 90]).collect()
    }

    #[test]
    fn each_colour_has_its_place_and_the_257th_is_one_too_many() {
        for count in [1, 2, 255, 256] {
            let list = some(count);
            let colors = Colors::of(&picture(&list), later()).unwrap().unwrap();
            assert_eq!(colors.list(), list);
            assert!(list.iter().enumerate().all(|(place, &color)| usize::from(colors.place(color)) == place));
        }
        assert!(Colors::of(&picture(&some(257)), later()).unwrap().is_none());
    }

    #[test]
    fn alphas_of_one_colour_are_many_colours() {
        let list: Vec<Color> = (0..=255).map(|alpha| [20, 60, 140, alpha]).collect();
        assert_eq!(Colors::of(&picture(&list), later()).unwrap().unwrap().list().len(), 256);
    }

    #[test]
    fn colours_that_share_a_slot_are_told_apart() {
        // The search goes on from the last slot to the first.
        let last = SLOTS - 1;
        let slot = |color: Color| Colors::from_list([]).unwrap().find(color).unwrap_err();
        let alike: Vec<Color> = (0..=0xFF_FFFF_u32)
            .map(u32::to_le_bytes)
            .filter(|&color| slot(color) == last)
            .take(COLORS_MAX)
            .collect();
        let colors = Colors::of(&picture(&alike), later()).unwrap().unwrap();
        assert!(alike.iter().enumerate().all(|(place, &color)| usize::from(colors.place(color)) == place));
    }

    #[test]
    fn the_count_stops_at_the_deadline() {
        let past = Deadline::after(Duration::ZERO);
        assert!(matches!(Colors::of(&picture(&some(9)), past), Err(Error::TimedOut)));
    }
}
