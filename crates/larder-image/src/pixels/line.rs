//! Pictures of two colours and what lies between them, as text of one colour on paper of another is.
//!
//! Their pixels are told by one number, the position between the two. Resized channel by channel they would
//! get more colours than a palette holds, since each channel rounds for itself; resized by position, in 16 bits
//! and with room for the overshoot of Lanczos, they get at most [`COLORS_MAX`].
//!
//! The result is that of the channels to within two levels, but for one thing: where one channel ends at 0 or 255
//! before another, 8 bits cut it off between the two directions too, and one number can't. Some samples beside
//! edges then differ by more, and are as near to exact arithmetic as before on the average.

use std::array;

use fast_image_resize::pixels::U16;

type Color = [u8; 3];

/// What a palette of PNG holds.
const COLORS_MAX: f32 = 256.0;

/// How far a channel may lie from the line. A blend is rounded to the nearest level, in this channel and in the
/// widest, from which the line follows it: half a level each, and half for the rounding of the line itself,
/// which is less than two levels, thus one.
const TOLERANCE: u8 = 1;

/// The same where two of a few pixels stand for the ends of the line, which may be off by a rounding.
const TOLERANCE_OF_SAMPLES: u8 = 2;

/// Pixels that are looked at first: photos are told by them.
const SAMPLES: usize = 512;

/// How far Lanczos3 goes beyond the two colours, as a share of the way between them: twice the 0.2 that was found
/// on text. What patterns that are made for it would add is cut off, as it is in each channel at 0 and 255.
const OVERSHOOT: f32 = 0.4;

/// A channel that changes by no more than this from one end to the other changes by less than a level in what
/// goes beyond them.
const STILL: u8 = 2;

/// Positions between black and white of the plane.
const PLANE_MAX: f32 = 65_535.0;

/// Bits of a sample of the plane that make no difference in colour: 4096 positions remain.
const FINE_BITS: u32 = 4;

/// The way from one colour to another. Positions are levels of the channel that goes farthest: 0 at the first
/// colour, where that channel is lowest, and [`Self::length`] at the other.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    from: Color,
    to: Color,
    /// The channel that goes farthest.
    widest: usize,
    /// Positions before the first colour and behind the other, until all channels end at 0 or 255.
    room: [f32; 2],
}

impl Line {
    /// The line on which all pixels lie.
    pub fn of(pixels: &[Color]) -> Option<Self> {
        let step = pixels.len().div_ceil(SAMPLES).max(1);
        let samples: Vec<Color> = pixels.iter().step_by(step).copied().collect();
        // Of paper alone nothing can be said yet.
        if let Some(sampled) = Self::between_ends(&samples) {
            let positions = sampled.positions(TOLERANCE_OF_SAMPLES);
            if !samples.iter().all(|&color| positions.of(color).is_some()) {
                return None;
            }
        }
        Self::between_ends(pixels)
    }

    /// The line between the two pixels that differ most in a channel.
    fn between_ends(pixels: &[Color]) -> Option<Self> {
        let (low, high) = bounds(pixels);
        let widest = (0..3).max_by_key(|&channel| high[channel].saturating_sub(low[channel]))?;
        let with = |value: u8| pixels.iter().copied().find(|color| color[widest] == value);
        (high[widest] > low[widest]).then_some(())?;
        Some(Self::new(with(low[widest])?, with(high[widest])?, widest))
    }

    fn new(from: Color, to: Color, widest: usize) -> Self {
        let mut line = Self { from, to, widest, room: [0.0; 2] };
        line.room = [line.room_beyond(from, to), line.room_beyond(to, from)];
        line
    }

    /// How many positions there are beyond an end before all channels are at 0 or 255.
    fn room_beyond(&self, end: Color, other: Color) -> f32 {
        let channels = end.into_iter().zip(other).filter(|(end, other)| end.abs_diff(*other) > STILL);
        let rooms = channels.map(|(end, other)| {
            let levels = if end < other { end } else { 255 - end };
            f32::from(levels) * self.length() / f32::from(end.abs_diff(other))
        });
        rooms.fold(0.0, f32::max).min(OVERSHOOT * self.length())
    }

    /// Positions from one colour to the other.
    fn length(&self) -> f32 {
        f32::from(self.to[self.widest] - self.from[self.widest])
    }

    /// The colour at a position, which may lie beyond the ends.
    fn color(&self, position: f32) -> Color {
        array::from_fn(|channel| {
            let (from, to) = (f32::from(self.from[channel]), f32::from(self.to[channel]));
            // Converting to whole numbers cuts off fractions and ends at 0 and 255.
            (from + position * (to - from) / self.length() + 0.5) as u8
        })
    }

    /// Samples of the plane for one position.
    fn scale(&self) -> f32 {
        PLANE_MAX / (self.room[0] + self.length() + self.room[1])
    }

    /// What tells pixels' places in the plane.
    pub fn plane(&self) -> Positions {
        self.positions(TOLERANCE)
    }

    fn positions(&self, tolerance: u8) -> Positions {
        let at = |value: usize| {
            let position = value as f32 - f32::from(self.from[self.widest]);
            let sample = (position + self.room[0]) * self.scale();
            (self.color(position), U16::new(sample.round() as u16))
        };
        Positions { widest: self.widest, tolerance, of_values: array::from_fn(at) }
    }

    /// The colours of a plane, no more than a palette holds: each position if there is room, else as many as there
    /// are places. Both ends stay exactly what they are.
    pub fn colors(&self, plane: &[U16]) -> Vec<u8> {
        let bin = |sample: &U16| usize::from(sample.0 >> FINE_BITS);
        let (first, last) =
            plane.iter().map(bin).fold((usize::MAX, 0), |(a, b), bin| (a.min(bin), b.max(bin)));
        let position = |bin: usize| {
            let middle = ((bin << FINE_BITS) + (1 << (FINE_BITS - 1))) as f32;
            middle / self.scale() - self.room[0]
        };
        let grid = Grid::new(self.length(), position(first.min(last)), position(last));
        let mut known = (f32::NAN, self.from);
        let table = (first..=last).map(|bin| {
            let place = grid.nearest(position(bin));
            if place != known.0 {
                known = (place, self.color(place));
            }
            known.1
        });
        let table: Vec<Color> = table.collect();
        plane.iter().flat_map(|sample| table[bin(sample) - first]).collect()
    }
}

/// Positions that are told apart.
struct Grid {
    length: f32,
    /// Steps between the two ends, of which both are reached.
    within: f32,
    /// Steps beyond them.
    beyond: f32,
}

impl Grid {
    /// For all positions from one to another.
    fn new(length: f32, from: f32, to: f32) -> Self {
        // So many steps have one place more, and one more still where both ends of the stretch round outwards.
        let goes_beyond = from.round() < 0.0 || to.round() > length;
        let steps_max = COLORS_MAX - if goes_beyond { 2.0 } else { 1.0 };
        let beyond = ((to - from) / steps_max).max(1.0);
        Self { length, within: length / (length / beyond).floor(), beyond }
    }

    fn nearest(&self, position: f32) -> f32 {
        let excess = position - position.clamp(0.0, self.length);
        if excess == 0.0 {
            return (position / self.within).round() * self.within;
        }
        position - excess + (excess / self.beyond).round() * self.beyond
    }
}

/// Where pixels lie in the plane, by their widest channel.
pub(super) struct Positions {
    widest: usize,
    tolerance: u8,
    of_values: [(Color, U16); 256],
}

impl Positions {
    /// `None` for a colour that is not on the line.
    pub fn of(&self, color: Color) -> Option<U16> {
        let (expected, position) = self.of_values[usize::from(color[self.widest])];
        let near = |(found, expected): (u8, u8)| found.abs_diff(expected) <= self.tolerance;
        color.into_iter().zip(expected).all(near).then_some(position)
    }
}

/// Pixels whose bounds are taken at once, so that the compiler can use vectors.
const LANES: usize = 16;

/// The lowest and the highest value of each channel.
fn bounds(pixels: &[Color]) -> (Color, Color) {
    let (mut low, mut high) = ([u8::MAX; 3 * LANES], [0; 3 * LANES]);
    let (blocks, rest) = pixels.as_chunks::<LANES>();
    for block in blocks {
        for (value, (low, high)) in block.as_flattened().iter().zip(low.iter_mut().zip(&mut high)) {
            (*low, *high) = ((*low).min(*value), (*high).max(*value));
        }
    }
    let (low, high) = (low.as_chunks::<3>().0, high.as_chunks::<3>().0);
    let of = |color: &[Color], channel: usize, pick: fn(u8, u8) -> u8, start: u8| {
        color.iter().chain(rest).map(|color| color[channel]).fold(start, pick)
    };
    (array::from_fn(|c| of(low, c, u8::min, u8::MAX)), array::from_fn(|c| of(high, c, u8::max, 0)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NAVY: Color = [20, 60, 140];
    const WHITE: Color = [255; 3];

    fn blend(ink: Color, paper: Color, part: u8) -> Color {
        let part = u16::from(part);
        array::from_fn(|c| {
            ((u16::from(ink[c]) * part + u16::from(paper[c]) * (255 - part) + 127) / 255) as u8
        })
    }

    fn all(ink: Color, paper: Color) -> Vec<Color> {
        (0..=255).map(|part| blend(ink, paper, part)).collect()
    }

    fn on_line(line: &Line, pixels: &[Color]) -> bool {
        let positions = line.plane();
        pixels.iter().all(|&color| positions.of(color).is_some())
    }

    #[test]
    fn every_blend_of_two_colours_lies_on_their_line() {
        let mut state = 7_u32;
        let mut color = || {
            array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
        };
        for _ in 0..2_000 {
            let (ink, paper) = (color(), color());
            let pixels = all(ink, paper);
            let line = Line::of(&pixels).unwrap();
            assert!(on_line(&line, &pixels), "{ink:?} on {paper:?}");
            let ends = [line.from, line.to];
            assert!(ends == [ink, paper] || ends == [paper, ink]);
        }
    }

    #[test]
    fn a_pixel_two_levels_beside_the_line_is_seen() {
        let mut pixels = all(NAVY, WHITE);
        let line = Line::of(&pixels).unwrap();
        pixels[90][1] += 1;
        assert!(on_line(&line, &pixels));
        pixels[90][1] += 1;
        assert!(!on_line(&line, &pixels));
    }

    #[test]
    fn a_photo_and_a_flat_picture_are_on_no_line() {
        let photo: Vec<Color> = (0..9_000_u32).map(|n| [n, n / 9, n * n / 7].map(|v| v as u8)).collect();
        assert_eq!(Line::of(&photo), None);
        assert_eq!(Line::of(&[NAVY; 900]), None);
        assert_eq!(Line::of(&[]), None);
    }

    #[test]
    fn what_no_sample_shows_is_found_by_the_bounds() {
        let mut pixels = vec![WHITE; 100_000];
        pixels[77_777] = NAVY;
        let line = Line::of(&pixels).unwrap();
        assert_eq!([line.from, line.to], [NAVY, WHITE]);
    }

    #[test]
    fn there_is_room_until_every_channel_ends() {
        let room = |ink, paper| Line::of(&all(ink, paper)).unwrap().room;
        assert_eq!(room([0; 3], WHITE), [0.0, 0.0]);
        assert_eq!(room([255, 0, 0], WHITE), [0.0, 0.0]);
        assert_eq!(room([0, 0, 255], [255, 255, 0]), [0.0, 0.0]);
        assert_eq!(room([20, 20, 20], WHITE), [20.0, 0.0]);
        assert_eq!(room(NAVY, WHITE), [0.4 * 235.0, 0.0]);
        // A channel that hardly moves keeps nothing open.
        assert_eq!(room([0, 0, 100], [255, 255, 101]), [0.0, 0.0]);
    }

    #[test]
    fn a_plane_of_every_position_becomes_no_more_colours_than_a_palette_has() {
        for (ink, paper) in
            [(NAVY, WHITE), ([0, 0, 128], WHITE), ([90, 90, 60], [200, 150, 90]), ([0; 3], WHITE)]
        {
            let line = Line::of(&all(ink, paper)).unwrap();
            let plane: Vec<U16> = (0..=u16::MAX).map(U16::new).collect();
            let colors = line.colors(&plane);
            let colors = colors.as_chunks::<3>().0;
            let different: HashSet<Color> = colors.iter().copied().collect();
            assert!(different.len() <= 256, "{ink:?} on {paper:?}: {}", different.len());
            assert!(different.contains(&ink) && different.contains(&paper), "{ink:?} on {paper:?}");
            let exact = |n: usize| line.color(n as f32 / line.scale() - line.room[0]);
            for (n, color) in colors.iter().enumerate() {
                let far = color.iter().zip(exact(n)).any(|(found, exact)| found.abs_diff(exact) > 1);
                assert!(!far, "{ink:?} on {paper:?} at {n}: {color:?}, exactly {:?}", exact(n));
            }
        }
    }

    #[test]
    fn no_position_is_lost_where_nothing_goes_beyond_the_ends() {
        let pixels = all([255, 0, 0], WHITE);
        let line = Line::of(&pixels).unwrap();
        let positions = line.plane();
        let plane: Vec<U16> = pixels.iter().map(|&color| positions.of(color).unwrap()).collect();
        assert_eq!(line.colors(&plane), pixels.as_flattened());
    }

    #[test]
    fn pixels_come_back_from_the_plane_as_they_were_within_the_tolerance() {
        for (ink, paper) in [(NAVY, WHITE), (WHITE, [3, 9, 250]), ([90, 90, 60], [200, 150, 90])] {
            let pixels = all(ink, paper);
            let line = Line::of(&pixels).unwrap();
            let positions = line.plane();
            let plane: Vec<U16> = pixels.iter().map(|&color| positions.of(color).unwrap()).collect();
            for (found, color) in line.colors(&plane).as_chunks::<3>().0.iter().zip(&pixels) {
                assert!(found.iter().zip(color).all(|(a, b)| a.abs_diff(*b) <= TOLERANCE));
            }
        }
    }
}
