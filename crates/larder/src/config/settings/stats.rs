//! Settings of statistics: the prices that costs are estimated by.

use super::{Kind, Setting};

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        path: "stats.prices.currency", kind: Kind::Text, default: Some("USD"), aliases: &[],
        doc: "What the prices below are. `larder stats` estimates by them what a month costs; the defaults are the list prices of Amazon S3 Standard in us-east-1, first tiers, of 2025, without taxes and free allowances.",
        set: |config, raw| raw.read_into(&mut config.prices.currency),
    },
    Setting {
        path: "stats.prices.gb_month", kind: Kind::Number, default: Some("0.023"), aliases: &[],
        doc: "A GB (2^30 bytes) that lies there for a month.",
        set: |config, raw| raw.read_into(&mut config.prices.gb_month),
    },
    Setting {
        path: "stats.prices.writes_1000", kind: Kind::Number, default: Some("0.005"), aliases: &[],
        doc: "1,000 objects written.",
        set: |config, raw| raw.read_into(&mut config.prices.writes_1000),
    },
    Setting {
        path: "stats.prices.reads_10000", kind: Kind::Number, default: Some("0.004"), aliases: &[],
        doc: "10,000 objects read.",
        set: |config, raw| raw.read_into(&mut config.prices.reads_10000),
    },
    Setting {
        path: "stats.prices.gb_out", kind: Kind::Number, default: Some("0.09"), aliases: &[],
        doc: "A GB sent out.",
        set: |config, raw| raw.read_into(&mut config.prices.gb_out),
    },
];
