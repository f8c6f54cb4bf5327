//! The eight ways in which a stored picture is to be turned and mirrored.

/// How the stored picture is to be shown: the eight values of the EXIF tag `Orientation`
/// (Exif 2.32, tag 0x0112), which are all turns by quarter and mirrorings there are.
///
/// Every value is "mirror left-right or not, then turn clockwise by quarters".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Orientation {
    mirrored: bool,
    quarters: u8,
}

impl Orientation {
    /// As stored.
    pub const UPRIGHT: Self = Self { mirrored: false, quarters: 0 };

    /// From the EXIF value; `None` unless it is 1 to 8.
    pub const fn from_exif(value: u16) -> Option<Self> {
        let (mirrored, quarters) = match value {
            1 => (false, 0),
            2 => (true, 0),
            3 => (false, 2),
            4 => (true, 2),
            5 => (true, 3),
            6 => (false, 1),
            7 => (true, 1),
            8 => (false, 3),
            _ => return None,
        };
        Some(Self { mirrored, quarters })
    }

    /// The EXIF value, 1 to 8.
    pub const fn exif(self) -> u16 {
        match (self.mirrored, self.quarters) {
            (false, 0) => 1,
            (true, 0) => 2,
            (false, 2) => 3,
            (true, 2) => 4,
            (true, 3) => 5,
            (false, 1) => 6,
            (true, 1) => 7,
            _ => 8,
        }
    }

    /// A clockwise turn by `quarters` of 90°.
    pub(crate) const fn turn(quarters: u8) -> Self {
        Self { mirrored: false, quarters: quarters % 4 }
    }

    /// A mirroring left-right (`horizontal`), top-bottom (`vertical`), or both.
    pub(crate) const fn mirror(horizontal: bool, vertical: bool) -> Self {
        // Top-bottom is left-right and half a turn.
        Self { mirrored: horizontal != vertical, quarters: if vertical { 2 } else { 0 } }
    }

    /// This one, and then `next`.
    pub(crate) const fn then(self, next: Self) -> Self {
        // A mirroring after a turn is the same mirroring before the turn the other way round.
        let quarters = if next.mirrored { 4 - self.quarters } else { self.quarters };
        Self { mirrored: self.mirrored != next.mirrored, quarters: (quarters + next.quarters) % 4 }
    }

    /// What undoes this one.
    pub(crate) const fn inverse(self) -> Self {
        // A mirrored one is its own inverse: it is a reflection at some axis.
        if self.mirrored { self } else { Self::turn(4 - self.quarters) }
    }

    /// Whether width and height change places.
    pub const fn swaps_sides(self) -> bool {
        self.quarters % 2 == 1
    }

    /// The size after turning a picture of this size.
    pub const fn apply_to_size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }

    /// Whether what was left comes to lie right or below, and what was on top below or right: the ends of
    /// rows and of columns as stored that are shown last are then their first ones.
    pub(crate) const fn reverses(self) -> (bool, bool) {
        let across = self.mirrored != matches!(self.quarters, 2 | 3);
        (across, matches!(self.quarters, 1 | 2))
    }

    /// Whether the picture is mirrored before it is turned.
    pub(crate) const fn is_mirrored(self) -> bool {
        self.mirrored
    }

    /// Clockwise turns by 90° after the mirroring.
    pub(crate) const fn quarters(self) -> u8 {
        self.quarters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Orientation> {
        (1..=8).map(|value| Orientation::from_exif(value).unwrap())
    }

    #[test]
    fn exif_values_read_back() {
        assert!(all().map(Orientation::exif).eq(1..=8));
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
    }

    #[test]
    fn the_inverse_undoes_each() {
        for one in all() {
            assert_eq!(one.then(one.inverse()), Orientation::UPRIGHT, "{one:?}");
            assert_eq!(one.inverse().then(one), Orientation::UPRIGHT, "{one:?}");
        }
    }

    #[test]
    fn joining_is_associative() {
        for a in all() {
            for b in all() {
                for c in all() {
                    assert_eq!(a.then(b).then(c), a.then(b.then(c)));
                }
            }
        }
    }

    #[test]
    fn mirroring_both_ways_is_half_a_turn() {
        assert_eq!(Orientation::mirror(true, true), Orientation::turn(2));
        assert_eq!(Orientation::mirror(false, true).exif(), 4);
        assert_eq!(Orientation::mirror(true, false).exif(), 2);
    }
}
