//! What the files of the pictures are called.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use larder_image::Recipe;

use super::{
    super::{files::Found, shown},
    Wanted,
};
use crate::failure::Failure;

/// For each file, the path of each of its pictures without the extension, which the format gives.
///
/// `a/b.jpg` becomes `a/b` if one picture is wanted, else `a/b.<label>`. Where two files would meet
/// in one name, both keep their extension: `a/b.jpg.<label>`.
///
/// # Errors
/// Two pictures would still have one name, as those of `x/a.jpg` and `y/a.jpg` do.
pub fn outputs(out: &Path, files: &[Found], wanted: &[Wanted]) -> Result<Vec<Vec<PathBuf>>, Failure> {
    let names = names(out, files, wanted);
    let mut taken: HashMap<&Path, &Path> = HashMap::new();
    for (file, names) in files.iter().zip(&names) {
        for name in names {
            if let Some(other) = taken.insert(name, &file.path) {
                return Err(Failure::usage(
                    format!(
                        "pictures of {} and {} would both be {}",
                        shown(other),
                        shown(&file.path),
                        shown(name)
                    ),
                    "make them one after the other with an --out of its own each, or give the folder above them",
                ));
            }
        }
    }
    Ok(names)
}

fn names(out: &Path, files: &[Found], wanted: &[Wanted]) -> Vec<Vec<PathBuf>> {
    let mut uses: HashMap<PathBuf, usize> = HashMap::new();
    for file in files {
        *uses.entry(file.relative.with_extension("")).or_default() += 1;
    }
    files
        .iter()
        .map(|file| {
            let stem = file.relative.with_extension("");
            let base = if uses[&stem] > 1 { &file.relative } else { &stem };
            wanted
                .iter()
                .map(|picture| match wanted.len() {
                    1 => out.join(base),
                    _ => with_suffix(&out.join(base), &picture.label),
                })
                .collect()
        })
        .collect()
}

/// `path` with `.suffix` behind it.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// A recipe in letters that every file system takes.
pub fn label_of(recipe: &Recipe) -> String {
    recipe.as_str().replace(':', "-").replace(',', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(relative: &str) -> Found {
        Found { path: relative.into(), relative: relative.into(), named: false }
    }

    fn wanted(labels: &[&str]) -> Vec<Wanted> {
        let recipe: Recipe = "format:webp".parse().unwrap();
        labels.iter().map(|label| Wanted { label: (*label).to_owned(), recipe: recipe.clone() }).collect()
    }

    #[test]
    fn one_picture_has_the_name_of_its_file_and_several_have_labels() {
        let files = [found("a/b.jpg")];
        let one = outputs(Path::new("o"), &files, &wanted(&["s"])).unwrap();
        assert_eq!(one, [[PathBuf::from("o/a/b")]]);
        let two = outputs(Path::new("o"), &files, &wanted(&["s", "l"])).unwrap();
        assert_eq!(two, [[PathBuf::from("o/a/b.s"), PathBuf::from("o/a/b.l")]]);
    }

    #[test]
    fn files_that_differ_in_their_extension_only_do_not_meet() {
        let files = [found("b.jpg"), found("b.png"), found("c.png")];
        let names = outputs(Path::new("o"), &files, &wanted(&["s"])).unwrap();
        assert_eq!(names, [[PathBuf::from("o/b.jpg")], [PathBuf::from("o/b.png")], [PathBuf::from("o/c")]]);
    }

    #[test]
    fn two_files_never_meet_in_one_picture() {
        let of = |path: &str, relative: &str| Found { path: path.into(), ..found(relative) };
        let files = [of("x/a.jpg", "a.jpg"), of("y/a.jpg", "a.jpg")];
        let failure = outputs(Path::new("o"), &files, &wanted(&["s", "l"])).unwrap_err();
        assert!(failure.cause.contains("x/a.jpg and y/a.jpg would both be o/a.jpg.s"), "{failure}");
        let files = [found("b.jpg"), found("b.png"), found("b.jpg.gif")];
        assert!(outputs(Path::new("o"), &files, &wanted(&["s"])).is_err());
    }

    #[test]
    fn a_recipe_becomes_a_possible_file_name() {
        let recipe: Recipe = "resize:inside:9x9,format:webp,quality:80".parse().unwrap();
        assert_eq!(label_of(&recipe), "resize-inside-9x9_format-webp_quality-80");
    }
}
