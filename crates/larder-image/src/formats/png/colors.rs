//! The colours of a picture, if a palette can hold them.

use crate::picture::{Channels, Picture};
use crate::{Deadline, Error};

/// Most colours of a palette (PNG third edition, section 11.2.2).
pub(super) const COLORS_MAX: usize = 256;

/// Twice the most colours, so that a look-up seldom meets another colour on its way.
const SLOTS: usize = 2 * COLORS_MAX;

/// Red, green, blue, alpha.
pub(super) type Color = [u8; 4];

/// At most 256 colours, and of each pixel the place of its colour among them.
pub(super) struct Colors {
    list: Vec<Color>,
    places: Vec<u8>,
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
        let mut colors = Self::new();
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

    fn new() -> Self {
        Self { list: Vec::with_capacity(COLORS_MAX), places: Vec::new(), slots: [0; SLOTS] }
    }

    /// Puts colours with alpha first, so that the list of alphas ends with the last of them.
    pub fn order_transparent_first(&mut self) {
        let mut order: Vec<u8> = (0..self.list.len()).map(|place| place as u8).collect();
        order.sort_by_key(|&place| self.list[usize::from(place)][3] == 255);
        let mut moved = [0; COLORS_MAX];
        for (to, &from) in order.iter().enumerate() {
            moved[usize::from(from)] = to as u8;
        }
        self.list = order.iter().map(|&from| self.list[usize::from(from)]).collect();
        for place in &mut self.places {
            *place = moved[usize::from(*place)];
        }
    }

    pub fn list(&self) -> &[Color] {
        &self.list
    }

    /// Of each pixel, row by row.
    pub fn places(&self) -> &[u8] {
        &self.places
    }

    /// Adds the pixels of a row; false if there are too many colours.
    fn add_all<const CHANNELS: usize>(&mut self, row: &[u8]) -> bool {
        // Most pixels of what has few colours are as the one before.
        let mut last = None;
        for pixel in row.as_chunks::<CHANNELS>().0 {
            let place = match last {
                Some((known, place)) if known == pixel => place,
                _ => match self.add(color(pixel)) {
                    Some(place) => place,
                    None => return false,
                },
            };
            last = Some((pixel, place));
            self.places.push(place);
        }
        true
    }

    /// The place of a colour, which is in the list now; `None` if there is no room for it.
    fn add(&mut self, color: Color) -> Option<u8> {
        match self.find(color) {
            Ok(place) => Some(place as u8),
            Err(_) if self.list.len() == COLORS_MAX => None,
            Err(slot) => {
                self.list.push(color);
                self.slots[slot] = self.list.len() as u16;
                Some((self.list.len() - 1) as u8)
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
fn color<const CHANNELS: usize>(pixel: &[u8; CHANNELS]) -> Color {
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
            assert!(colors.places().iter().enumerate().all(|(n, &place)| usize::from(place) == n));
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
        let empty = Colors::new();
        let slot = |color: Color| empty.find(color).unwrap_err();
        let alike: Vec<Color> = (0..=0xFF_FFFF_u32)
            .map(u32::to_le_bytes)
            .filter(|&color| slot(color) == last)
            .take(COLORS_MAX)
            .collect();
        let colors = Colors::of(&picture(&[&alike[..], &alike].concat()), later()).unwrap().unwrap();
        assert_eq!(colors.list(), alike);
        assert!(colors.places().iter().enumerate().all(|(n, &place)| usize::from(place) == n % COLORS_MAX));
    }

    #[test]
    fn pixels_keep_their_colours_when_those_with_alpha_come_first() {
        let list = [[1, 1, 1, 255], [2, 2, 2, 9], [3, 3, 3, 255], [4, 4, 4, 0]];
        let pixels = [list[0], list[1], list[1], list[2], list[3], list[0]];
        let mut colors = Colors::of(&picture(&pixels), later()).unwrap().unwrap();
        colors.order_transparent_first();
        assert_eq!(colors.list(), [list[1], list[3], list[0], list[2]]);
        let found: Vec<Color> = colors.places().iter().map(|&n| colors.list()[usize::from(n)]).collect();
        assert_eq!(found, pixels);
    }

    #[test]
    fn the_count_stops_at_the_deadline() {
        let past = Deadline::after(Duration::ZERO);
        assert!(matches!(Colors::of(&picture(&some(9)), past), Err(Error::TimedOut)));
    }
}
