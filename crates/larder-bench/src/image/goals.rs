//! What is to be reached, and whether it was.

use super::jobs::Files;
use super::measure::Compared;
use super::memory::{GOAL_MIB, Peaks};
use super::peer::Peer;

/// A line of the table of goals.
pub struct Goal {
    pub what: String,
    pub wanted: String,
    pub found: String,
    pub met: bool,
}

impl Goal {
    fn at_least(what: String, wanted: f64, found: f64) -> Self {
        Self {
            what,
            wanted: format!("at least {wanted:.2}"),
            found: format!("{found:.2}"),
            met: found >= wanted,
        }
    }

    fn at_most(what: String, wanted: f64, found: f64) -> Self {
        Self {
            what,
            wanted: format!("at most {wanted:.2}"),
            found: format!("{found:.2}"),
            met: found <= wanted,
        }
    }
}

/// Of one job, whose rivals come together; the first is sharp.
pub fn of_job(compared: &[Compared]) -> Vec<Goal> {
    let Some(first) = compared.first() else { return Vec::new() };
    let job = first.job;
    let of_ratio = |compared: &Compared| {
        let what = format!("{}: CPU of {} / Larder", job.name, compared.rival.label(job));
        Some(Goal::at_least(what, compared.rival.goal?, compared.ratio.median))
    };
    let mut goals: Vec<Goal> = compared.iter().filter_map(of_ratio).collect();
    if let Some(wanted) = job.bytes_goal {
        let found = first.own.bytes as f64 / first.theirs.bytes as f64;
        goals.push(Goal::at_most(format!("{}: bytes / sharp's", job.name), wanted, found));
    }
    if let Some(wanted) = job.score_goal {
        let sharps = compared.iter().filter(|compared| compared.rival.peer == Peer::Sharp);
        let best = sharps.map(|compared| compared.theirs.score).fold(f64::MIN, f64::max);
        let what = format!("{}: score - sharp's best", job.name);
        goals.push(Goal::at_least(what, -wanted, first.own.score - best));
    }
    goals
}

/// The goal is for baseline files; a progressive one keeps its coefficients until the last scan.
pub fn of_memory(peaks: &Peaks) -> Option<Goal> {
    let is_baseline = matches!(peaks.job.files, Files::Large { progressive: false });
    let what = format!("{}: peak memory, MiB", peaks.job.name);
    is_baseline.then(|| Goal::at_most(what, GOAL_MIB, peaks.larder.most))
}

#[cfg(test)]
mod tests {
    use super::super::jobs::PHOTO_JOBS;
    use super::super::measure::Outputs;
    use super::*;
    use crate::stats::Spread;

    #[test]
    fn a_goal_is_met_by_the_median_the_bytes_and_the_best_score_of_sharp() {
        let job = &PHOTO_JOBS[1];
        let own = Outputs { bytes: 1_020, score: 79.0 };
        let compared = |place: usize, ratio: f64, score: f64| Compared {
            job,
            rival: &job.rivals[place],
            larder: Spread::of([1.0]),
            peer: Spread::of([ratio]),
            ratio: Spread::of([ratio]),
            own,
            theirs: Outputs { bytes: 1_000, score },
        };
        let goals = of_job(&[compared(0, 1.3, 79.1), compared(1, 1.5, 78.0), compared(2, 9.0, 99.0)]);
        assert_eq!(goals.iter().map(|goal| goal.met).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(goals[3].found, "-0.10");
    }
}
