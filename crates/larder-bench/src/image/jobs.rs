//! The jobs, whom they are compared with, and what is to be reached.

use serde_json::{Value, json};

use super::peer::{Form, Peer};
use super::text::Text;

/// What a job works on.
#[derive(Debug, Clone, Copy)]
pub enum Files {
    Photos,
    /// The first few of them, for jobs that take long.
    FewPhotos,
    /// One photo of 24 million pixels.
    Large {
        progressive: bool,
    },
    Texts(Text),
}

/// Some files to some sizes in one format.
pub struct Job {
    pub name: &'static str,
    pub doc: &'static str,
    pub files: Files,
    /// As recipes and the peers call it.
    pub format: &'static str,
    /// Larder's and, unless a rival says otherwise, the peers'; their own default if there is none.
    pub quality: Option<u8>,
    /// Bounds of the outputs, the largest first.
    pub sizes: &'static [(u32, u32)],
    /// How often each run makes everything, so that short jobs can be measured.
    pub repeat: u32,
    /// Whether Larder is told that the files were decoded in full before, as those in its store were.
    pub trusted: bool,
    /// The most pairs, for jobs that take long.
    pub pairs_max: usize,
    /// The first one is sharp's thriftiest form, to which bytes are compared.
    pub rivals: &'static [Rival],
    /// Most bytes, as a share of those of the first rival.
    pub bytes_goal: Option<f64>,
    /// How much the score may lie below the best of sharp.
    pub score_goal: Option<f64>,
}

/// A peer, and how it does the job.
pub struct Rival {
    pub peer: Peer,
    pub form: Form,
    /// What it is set to, where that is not as the job says: quality and effort.
    pub own: Option<(u8, u8)>,
    /// Its CPU seconds over Larder's are to be at least this.
    pub goal: Option<f64>,
}

const fn rival(peer: Peer, form: Form) -> Rival {
    Rival { peer, form, own: None, goal: None }
}

const fn sharp(form: Form, goal: f64) -> Rival {
    Rival { goal: Some(goal), ..rival(Peer::Sharp, form) }
}

/// sharp's AVIF at a quality and an effort.
const fn sharp_avif(quality: u8, effort: u8) -> Rival {
    Rival { own: Some((quality, effort)), ..rival(Peer::Sharp, Form::Clone) }
}

const PYVIPS: Rival = rival(Peer::Pyvips, Form::Cascade);
const PILLOW: Rival = rival(Peer::Pillow, Form::Cascade);

const SMALL: &[(u32, u32)] = &[(300, 300)];
const FOUR_SIZES: &[(u32, u32)] = &[(1920, 1080), (1280, 720), (640, 360), (300, 169)];

/// Fields that most jobs share.
const PHOTOS: Job = Job {
    name: "",
    doc: "",
    files: Files::Photos,
    format: "jpeg",
    quality: Some(85),
    sizes: FOUR_SIZES,
    repeat: 1,
    trusted: false,
    pairs_max: usize::MAX,
    rivals: &[],
    bytes_goal: Some(1.01),
    score_goal: Some(0.2),
};

pub const PHOTO_JOBS: &[Job] = &[
    Job {
        name: "a",
        doc: "one JPEG of 300x300",
        sizes: SMALL,
        rivals: &[sharp(Form::Clone, 2.3), PYVIPS, PILLOW],
        ..PHOTOS
    },
    Job {
        name: "b",
        doc: "four WebP",
        format: "webp",
        rivals: &[sharp(Form::Cascade, 1.25), sharp(Form::Clone, 1.6), PYVIPS, PILLOW],
        ..PHOTOS
    },
    Job {
        name: "c",
        doc: "four JPEG",
        rivals: &[sharp(Form::Cascade, 1.6), sharp(Form::Clone, 3.2), PYVIPS, PILLOW],
        ..PHOTOS
    },
];

pub const LARGE_JOBS: &[Job] = &[
    Job {
        name: "a, progressive, stored",
        doc: "one JPEG of 300x300",
        files: Files::Large { progressive: true },
        sizes: SMALL,
        trusted: true,
        rivals: &[sharp(Form::Clone, 10.0), PYVIPS, PILLOW],
        ..PHOTOS
    },
    Job {
        name: "a, progressive, new",
        doc: "one JPEG of 300x300",
        files: Files::Large { progressive: true },
        sizes: SMALL,
        rivals: &[rival(Peer::Sharp, Form::Clone), PYVIPS, PILLOW],
        ..PHOTOS
    },
    Job {
        name: "a, baseline",
        doc: "one JPEG of 300x300",
        files: Files::Large { progressive: false },
        sizes: SMALL,
        rivals: &[rival(Peer::Sharp, Form::Clone), PYVIPS, PILLOW],
        ..PHOTOS
    },
    Job {
        name: "b, baseline",
        doc: "four WebP",
        files: Files::Large { progressive: false },
        format: "webp",
        rivals: &[rival(Peer::Sharp, Form::Cascade), rival(Peer::Sharp, Form::Clone), PYVIPS, PILLOW],
        ..PHOTOS
    },
];

/// sharp at its default effort and quality, and at the quality at which it scores as Larder's default
/// does, with the same effort and a lower one.
pub const AVIF_JOBS: &[Job] = &[Job {
    name: "d",
    doc: "one AVIF of 800x800 (the first 4 photos, at most 3 pairs)",
    files: Files::FewPhotos,
    format: "avif",
    quality: None,
    sizes: &[(800, 800)],
    pairs_max: 3,
    rivals: &[sharp_avif(SCORES_ALIKE, 2), sharp_avif(SCORES_ALIKE, 4), sharp_avif(50, 4)],
    bytes_goal: None,
    score_goal: None,
    ..PHOTOS
}];

/// Found by trying.
const SCORES_ALIKE: u8 = 43;

const TEXT: Job = Job {
    doc: "PNG to 200x200",
    format: "png",
    quality: None,
    sizes: &[(200, 200)],
    repeat: 20,
    rivals: &[sharp(Form::Clone, 2.0), PILLOW],
    bytes_goal: Some(0.5),
    score_goal: Some(0.2),
    ..PHOTOS
};

pub const TEXT_JOBS: &[Job] = &[
    Job { name: "e, black on nothing", files: Files::Texts(Text::BLACK_ON_NOTHING), ..TEXT },
    Job { name: "e, black on white", files: Files::Texts(Text::BLACK_ON_WHITE), ..TEXT },
    Job { name: "e, blue on nothing", files: Files::Texts(Text::BLUE_ON_NOTHING), ..TEXT },
    Job { name: "e, blue on white", files: Files::Texts(Text::BLUE_ON_WHITE), ..TEXT },
];

/// Every job, each group in a table of its own.
pub const GROUPS: [&[Job]; 4] = [PHOTO_JOBS, LARGE_JOBS, AVIF_JOBS, TEXT_JOBS];

impl Job {
    /// The recipes of all sizes.
    pub fn recipes(&self) -> Vec<String> {
        let resize =
            |(width, height): &(u32, u32)| format!("resize:inside:{width}x{height},{}", self.output());
        self.sizes.iter().map(resize).collect()
    }

    /// Format and quality as a recipe.
    pub fn output(&self) -> String {
        match self.quality {
            Some(quality) => format!("format:{},quality:{quality}", self.format),
            None => format!("format:{}", self.format),
        }
    }
}

impl Rival {
    /// What the peer is told of quality and effort.
    pub fn settings(&self, job: &Job) -> Value {
        match (self.own, job.quality) {
            (Some((quality, effort)), _) => json!({ "quality": quality, "effort": effort }),
            (None, Some(quality)) => json!({ "quality": quality }),
            (None, None) => json!({}),
        }
    }

    /// Peer, form and settings, as far as they tell it from others of the same job.
    pub fn label(&self, job: &Job) -> String {
        match self.own {
            Some((quality, effort)) => format!("sharp, quality {quality}, effort {effort}"),
            None if job.sizes.len() > 1 => format!("{}, {}", self.peer.name(), self.form.name()),
            None => self.peer.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_read_and_no_name_is_taken_twice() {
        let jobs: Vec<&Job> = GROUPS.into_iter().flatten().collect();
        for job in &jobs {
            assert!(job.recipes().iter().all(|recipe| recipe.parse::<larder_image::Recipe>().is_ok()));
            assert_eq!(jobs.iter().filter(|other| other.name == job.name).count(), 1, "{}", job.name);
            assert_eq!(job.rivals[0].peer, Peer::Sharp, "{}", job.name);
        }
    }
}
