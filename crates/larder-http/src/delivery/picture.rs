//! `/i/{signature}/{recipe}/{bucket}/{key}.{extension}`: what a recipe makes of an asset, made when it
//! is first asked for.

use std::borrow::Cow;

use http::request::Parts;
use larder_assets::{
    AssetView,
    links::encode_path,
    variants::{AtHand, SourceFacts, output_format},
};
use larder_core::{BucketName, Code, Fault, FileType, ObjectKey};
use larder_image::{Format, OutputFormat, Recipe};

use super::{
    Extra,
    access::{self, Right},
    negotiate, respond,
};
use crate::{app::Context, call::Outcome, path::decode};

/// In the signature's place: a preset that the bucket serves to anyone.
const UNSIGNED: &str = "_";

/// The extension that lets `Accept` decide.
const NEGOTIATED: &str = "auto";

/// The parts of a picture's path.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    signature: Cow<'a, str>,
    recipe: String,
    bucket: BucketName,
    key: ObjectKey,
    extension: String,
    /// What was signed, as it came.
    signed: &'a str,
}

/// The recipe that a URL comes to.
struct Chosen {
    recipe: Recipe,
    /// The preset, if the recipe is exactly a preset's.
    preset: Option<String>,
    negotiated: bool,
    /// A better format is being made; this one is shown meanwhile.
    meanwhile: bool,
}

pub(super) async fn deliver(context: &Context, parts: &Parts) -> Outcome {
    let larder = context.app.larder();
    let asked = Asked::parse(parts.uri.path())?;
    let signed = match &*asked.signature {
        UNSIGNED => None,
        signature => Some(access::check(context, asked.signed, &asked.canonical(), parts, signature)?),
    };
    let bucket = larder.bucket(&asked.bucket).await?;
    let right = match signed {
        Some(signed) => signed.right(context, &bucket, asked.key.as_str()).await?,
        None if asked.preset().is_some_and(|preset| bucket.opens(preset)) => Right::Public,
        None => return Err(closed(&asked).into()),
    };
    let chosen = choose(context, parts, &asked).await?;
    let preset = chosen.preset.as_deref();
    let readable = larder.read_variant(&asked.bucket, &asked.key, &chosen.recipe, preset).await?;
    let Chosen { negotiated, meanwhile, .. } = chosen;
    respond(context, parts, readable, Extra { right, negotiated, meanwhile }).await
}

fn closed(asked: &Asked<'_>) -> Fault {
    let detail = match asked.preset() {
        Some(preset) => format!("the bucket {} does not serve the preset {preset} unsigned", asked.bucket),
        None => "recipes that are no preset are served with a signature only".to_owned(),
    };
    Fault::new(Code::SignatureInvalid, detail)
        .remedy("sign the URL (POST /api/v1/sign), or list the preset in the bucket's public_presets")
}

impl<'a> Asked<'a> {
    fn parse(path: &'a str) -> Result<Self, Fault> {
        let incomplete = || {
            Fault::new(Code::RouteNotFound, "the path is no picture's")
                .remedy("ask for /i/{signature}/{recipe}/{bucket}/{key}.{extension}")
        };
        let rest = path.strip_prefix("/i/").unwrap_or_default();
        let (signature, _) = rest.split_once('/').ok_or_else(incomplete)?;
        let signed = &rest[signature.len()..];
        let mut segments = signed[1..].splitn(3, '/');
        let mut next = || segments.next().ok_or_else(incomplete);
        let (recipe, bucket, file) = (decode(next()?)?, decode(next()?)?, decode(next()?)?);
        let (key, extension) = file.rsplit_once('.').ok_or_else(incomplete)?;
        Ok(Self {
            signature: Cow::Borrowed(signature),
            recipe,
            bucket: bucket.parse()?,
            key: key.parse()?,
            extension: extension.to_owned(),
            signed,
        })
    }

    /// What was signed, as Larder spells it.
    fn canonical(&self) -> String {
        format!("/{}/{}/{}.{}", self.recipe, self.bucket, encode_path(self.key.as_str()), self.extension)
    }

    fn preset(&self) -> Option<&str> {
        self.recipe.strip_prefix("p:")
    }
}

async fn choose(context: &Context, parts: &Parts, asked: &Asked<'_>) -> Result<Chosen, Fault> {
    let recipes = context.app.recipes();
    let base = match asked.preset() {
        Some(preset) => recipes.preset(context.app.larder(), preset).await?,
        None => recipes.free(&asked.recipe)?,
    };
    if asked.extension == NEGOTIATED {
        return negotiated(context, parts, asked, &base).await;
    }
    let format = format_of_extension(&asked.extension)?;
    let names_format = asked.recipe.split(',').any(|step| step.starts_with("format:"));
    let recipe = match base.format() {
        own if own == format => base.clone(),
        OutputFormat::Source if makes(context, asked, &base, format).await? => base.clone(),
        own if names_format => {
            let detail = format!("the recipe makes {own}, the URL ends in .{}", asked.extension);
            return Err(Fault::new(Code::InvalidRecipe, detail)
                .remedy("leave the format out of the recipe, or end the URL accordingly"));
        }
        _ => base.with_format(format)?,
    };
    let preset = asked.preset().filter(|_| recipe.as_str() == base.as_str()).map(str::to_owned);
    Ok(Chosen { recipe, preset, negotiated: false, meanwhile: false })
}

/// The recipe in the best format by `Accept`. One that takes long to make is passed over until a job has
/// made it, so that no reader waits for it.
async fn negotiated(
    context: &Context,
    parts: &Parts,
    asked: &Asked<'_>,
    base: &Recipe,
) -> Result<Chosen, Fault> {
    let mut meanwhile = false;
    let chosen = |format, recipe, meanwhile| {
        let preset = asked.preset().filter(|_| base.format() == format).map(str::to_owned);
        Chosen { recipe, preset, negotiated: true, meanwhile }
    };
    for format in negotiate::named(&parts.headers) {
        // A format of one frame is no choice for an animation; and some recipes can't be made in it.
        let loses_frames = base.keeps_animation() && !format.animates();
        let Ok(recipe) = base.with_format(OutputFormat::In(format)) else { continue };
        if loses_frames || !admits(context, asked, &recipe, format).await? {
            continue;
        }
        let candidate = chosen(OutputFormat::In(format), recipe, meanwhile);
        if !format.is_slow() {
            return Ok(candidate);
        }
        match at_hand(context, asked, &candidate).await? {
            AtHand::Ready => return Ok(candidate),
            AtHand::Coming => meanwhile = true,
            AtHand::Failed => {}
        }
    }
    let source = source(context, asked).await?;
    let format = OutputFormat::In(negotiate::fallback(&source.content_type));
    Ok(chosen(format, base.with_format(format)?, meanwhile))
}

async fn at_hand(context: &Context, asked: &Asked<'_>, candidate: &Chosen) -> Result<AtHand, Fault> {
    let preset = candidate.preset.as_deref();
    context.app.larder().variant_at_hand(&asked.bucket, &asked.key, &candidate.recipe, preset).await
}

/// Whether the output can have this format by its size. Most recipes bound it; for the others the
/// source's size counts.
async fn admits(
    context: &Context,
    asked: &Asked<'_>,
    recipe: &Recipe,
    format: Format,
) -> Result<bool, Fault> {
    if recipe.output_size_max(None).is_some_and(|size| format.admits(size)) {
        return Ok(true);
    }
    let source = source(context, asked).await?;
    let size = recipe.output_size_max(source.width.zip(source.height));
    // Of a recipe that can't be made, any format tells the reason.
    Ok(size.is_none_or(|size| format.admits(size)))
}

/// Whether a recipe that follows its source makes `format` of this one.
async fn makes(
    context: &Context,
    asked: &Asked<'_>,
    base: &Recipe,
    format: OutputFormat,
) -> Result<bool, Fault> {
    let source = source(context, asked).await?;
    let facts = SourceFacts {
        content_type: &source.content_type,
        width_px: source.width.unwrap_or(0),
        height_px: source.height.unwrap_or(0),
        frames: source.frames.unwrap_or(1),
    };
    let made = output_format(base, &facts);
    Ok(format_of_extension(made.extension()).is_ok_and(|made| made == format))
}

async fn source(context: &Context, asked: &Asked<'_>) -> Result<AssetView, Fault> {
    context.app.larder().asset_at(&asked.bucket, &asked.key).await
}

/// Whether a picture's URL may end in this extension.
pub(crate) fn is_extension(extension: &str) -> bool {
    extension == NEGOTIATED || format_of_extension(extension).is_ok()
}

fn format_of_extension(extension: &str) -> Result<OutputFormat, Fault> {
    FileType::of_extension(extension).and_then(|known| OutputFormat::named(known.name)).ok_or_else(|| {
        Fault::new(Code::InvalidRecipe, format!("pictures are not made as .{extension}"))
            .remedy(format!("end the URL in {}", extensions()))
    })
}

/// What a picture's URL may end in.
fn extensions() -> String {
    let all: Vec<String> = OutputFormat::all().map(|format| format!(".{}", format.url_extension())).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart() {
        let asked =
            Asked::parse("/i/larder.abc/resize:inside:300x300,quality:80/media/a%20b/c.d.jpg.webp").unwrap();
        assert_eq!(asked.signature, "larder.abc");
        assert_eq!(asked.recipe, "resize:inside:300x300,quality:80");
        assert_eq!(asked.key.as_str(), "a b/c.d.jpg");
        assert_eq!(asked.extension, "webp");
        assert_eq!(asked.signed, "/resize:inside:300x300,quality:80/media/a%20b/c.d.jpg.webp");
        assert_eq!(asked.canonical(), asked.signed);
        assert_eq!(asked.preset(), None);
        let lazy = Asked::parse("/i/_/p%3Ahero/media/%61.jpg.auto").unwrap();
        assert_eq!(lazy.canonical(), "/p:hero/media/a.jpg.auto");
        assert_eq!(lazy.preset(), Some("hero"));
    }

    #[test]
    fn incomplete_and_hostile_paths_are_refused() {
        let code = |path| Asked::parse(path).unwrap_err().code;
        for path in ["/i/", "/i/_", "/i/_/p:x", "/i/_/p:x/media", "/i/_/p:x/media/noextension"] {
            assert_eq!(code(path), Code::RouteNotFound, "{path}");
        }
        for path in
            ["/i/_/p:x/media/../a.webp", "/i/_/p:x/media/.larder/a.webp", "/i/_/p:x/media/%2e%2e%2fa.webp"]
        {
            assert_eq!(code(path), Code::InvalidKey, "{path}");
        }
    }

    #[test]
    fn extensions_name_formats() {
        for (extension, format) in [("jpg", Format::Jpeg), ("jpeg", Format::Jpeg), ("webp", Format::Webp)] {
            assert_eq!(format_of_extension(extension).unwrap(), OutputFormat::In(format));
        }
        assert_eq!(format_of_extension("exe").unwrap_err().code, Code::InvalidRecipe);
        assert_eq!(format_of_extension("svg").unwrap_err().code, Code::InvalidRecipe);
        assert_eq!(extensions(), ".jpg, .png, .webp, .avif, .auto");
    }
}
