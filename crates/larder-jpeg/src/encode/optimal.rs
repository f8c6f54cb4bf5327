//! The shortest code for counted symbols (T.81, annex K.2), symbol for symbol as libjpeg makes it.

use super::codes::Definition;

/// A symbol that stands for the code of all ones, which must not be used (T.81, annex C).
const RESERVED: usize = 256;

/// Symbols that are never used get no code.
pub(super) fn definition(uses: &[u64; 256]) -> Definition {
    let mut symbols: Vec<usize> = (0..256).filter(|&symbol| uses[symbol] > 0).collect();
    let lengths = lengths(symbols.iter().map(|&symbol| uses[symbol]).chain([1]).collect());
    symbols.push(RESERVED);

    // A tree is never deeper than it has leaves.
    let mut counts = vec![0_usize; symbols.len().max(17) + 1];
    lengths.iter().for_each(|&length| counts[length] += 1);
    limit(&mut counts);
    // The reserved one is among the longest.
    if let Some(count) = counts.iter_mut().rfind(|count| **count > 0) {
        *count -= 1;
    }
    // Shorter codes first, and of one length the lower symbol. What `limit` changed does not matter: the
    // order by frequency stays.
    let mut order: Vec<_> = lengths.into_iter().zip(symbols).collect();
    order.pop();
    order.sort_unstable();
    Definition {
        counts: std::array::from_fn(|index| counts[index + 1] as u8),
        symbols: order.into_iter().map(|(_, symbol)| symbol as u8).collect(),
    }
}

/// The length of each symbol's code, if codes could have any length (T.81, figure K.1).
fn lengths(mut uses: Vec<u64>) -> Vec<usize> {
    let mut lengths = vec![0; uses.len()];
    // Trees that are not yet part of another, by their first symbol, and the symbols of each.
    let mut roots: Vec<usize> = (0..uses.len()).collect();
    let mut members: Vec<Vec<usize>> = roots.iter().map(|&symbol| vec![symbol]).collect();
    while roots.len() > 1 {
        let (rarest, next) = two_rarest(&roots, &uses);
        let (kept, gone) = (roots[rarest], roots[next]);
        roots.remove(next);
        uses[kept] += uses[gone];
        let joined = std::mem::take(&mut members[gone]);
        members[kept].extend(joined);
        members[kept].iter().for_each(|&symbol| lengths[symbol] += 1);
    }
    lengths
}

/// The places of the two trees with the fewest uses; of equals the later.
fn two_rarest(roots: &[usize], uses: &[u64]) -> (usize, usize) {
    let (mut rarest, mut next) = ((u64::MAX, 0), (u64::MAX, 0));
    for (place, &root) in roots.iter().enumerate() {
        let uses = uses[root];
        if uses <= rarest.0 {
            (rarest, next) = ((uses, place), rarest);
        } else if uses <= next.0 {
            next = (uses, place);
        }
    }
    (rarest.1, next.1)
}

/// Makes codes of more than 16 bits shorter at the cost of others (T.81, figure K.3).
fn limit(counts: &mut [usize]) {
    for length in (17..counts.len()).rev() {
        while counts[length] > 0 {
            // Two of them become one that is a bit shorter; the other goes beside a shorter one.
            let shorter = (1..=length - 2).rev().find(|&shorter| counts[shorter] > 0).unwrap_or(1);
            counts[length] -= 2;
            counts[length - 1] += 1;
            counts[shorter + 1] += 2;
            counts[shorter] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uses: &[(usize, u64)]) -> Definition {
        let mut counts = [0; 256];
        uses.iter().for_each(|&(symbol, uses)| counts[symbol] = uses);
        definition(&counts)
    }

    /// How much of all codes a code takes, in 2^-16.
    fn taken(definition: &Definition) -> u64 {
        (1..).zip(&definition.counts).map(|(length, &count)| u64::from(count) << (16 - length)).sum()
    }

    #[test]
    fn a_lone_symbol_has_one_bit() {
        let found = of(&[(7, 100)]);
        assert_eq!((found.counts[0], found.symbols), (1, vec![7]));
        assert_eq!(of(&[]).symbols, []);
    }

    #[test]
    fn rarer_symbols_have_longer_codes() {
        let found = of(&[(1, 50), (2, 20), (3, 20), (4, 5)]);
        assert_eq!(found.counts[..5], [1, 1, 1, 1, 0]);
        assert_eq!(found.symbols, [1, 2, 3, 4]);
    }

    #[test]
    fn no_code_is_longer_than_16_bits_or_all_ones() {
        // Fibonacci's numbers make the deepest trees; 80 of them are more than any picture has.
        let (mut a, mut b) = (1, 1);
        for symbols in 1..=80 {
            let uses: Vec<_> = (0..symbols)
                .map(|symbol| {
                    (a, b) = if symbol == 0 { (1, 1) } else { (b, a + b) };
                    (symbol, a)
                })
                .collect();
            let found = of(&uses);
            assert_eq!(found.symbols.len(), symbols);
            assert_eq!(found.counts.iter().map(|&count| usize::from(count)).sum::<usize>(), symbols);
            assert!(taken(&found) < 1 << 16, "{symbols} symbols: {found:?}");
        }
        let every: Vec<_> = (0..256).map(|symbol| (symbol, 1 + symbol as u64 % 3)).collect();
        assert!(taken(&of(&every)) < 1 << 16);
    }
}
