//! `genflow init`: writes a `.env` with the settings that every deployment needs, and fresh secrets. It asks for what no flag
//! gives, if there is a person to ask.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::terminal::{ask, ask_secret, is_interactive, note};
use super::{Error, secrets};
use crate::engines::config::Config;
use crate::engines::config::catalogue::{self, Setting};

/// `genflow init`.
#[derive(Debug, Default, clap::Args)]
pub struct Init {
    /// Bootstrap brokers of Kafka [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT,..")]
    pub brokers: Option<String>,
    /// Base URL of the schema registry's Confluent API [default: http://127.0.0.1:8081/apis/ccompat/v7]
    #[arg(long, value_name = "URL")]
    pub registry: Option<String>,
    /// Address of Temporal [default: 127.0.0.1:7233]
    #[arg(long, value_name = "HOST:PORT")]
    pub temporal: Option<String>,
    /// Namespace of Temporal, which setup creates [default: default]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Provider of images and videos [default: replicate]
    #[arg(long, value_enum)]
    pub provider: Option<Generator>,
    /// File that contains the provider's API key; the .env then names the file instead of the key
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "PATH", default_value = ".env")]
    pub output: PathBuf,
    /// Replace the file if it exists; its secrets are lost, and notification targets encrypted with them become unreadable
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The provider of images and videos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Generator {
    #[default]
    Replicate,
    /// Images only
    Openai,
    Fal,
    /// genflow's simulator: costs nothing, and its files are placeholders
    #[cfg(feature = "dev")]
    Simulator,
}

/// Names and values, in the order of the file.
type Values = Vec<(&'static str, String)>;

/// Columns of a comment.
const WIDTH: usize = 118;

/// Writes the file, and prints its path.
///
/// # Errors
/// The file exists and may not be replaced, cannot be written, or a given value is not valid.
pub fn run(init: &Init, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = &init.output;
    // Before the questions, so that no answer is lost.
    if !init.force && path.symlink_metadata().is_ok() {
        return Err(exists(path).into());
    }
    let values = values(init)?;
    check(&values)?;
    write(path, &contents(&values), init.force)?;
    if init.json {
        writeln!(
            out,
            "{}",
            serde_json::json!({ "path": path.display().to_string() })
        )?;
    } else {
        writeln!(out, "{}", path.display())?;
    }
    note("only you can read it; next: genflow setup, genflow doctor, genflow all");
    Ok(())
}

fn exists(path: &Path) -> Error {
    Error::Usage(format!(
        "{} exists already; choose another path with --output, or --force to replace it",
        path.display()
    ))
}

/// Collects settings from flags and answers, and generates the secrets.
fn values(init: &Init) -> Result<Values, Error> {
    let mut values = Values::new();
    for (name, question, given) in [
        (
            "KAFKA_BROKERS",
            "Kafka's brokers, host:port[,host:port]",
            &init.brokers,
        ),
        (
            "SCHEMA_REGISTRY_URL",
            "The schema registry's base URL",
            &init.registry,
        ),
        (
            "TEMPORAL_HOST",
            "Temporal's address, host:port",
            &init.temporal,
        ),
        (
            "TEMPORAL_NAMESPACE",
            "Temporal's namespace",
            &init.namespace,
        ),
    ] {
        let default = setting(name).and_then(|it| it.default).unwrap_or_default();
        let asked = || ask(&format!("{question} [{default}]: ")).filter(|it| !it.is_empty());
        let value = given.clone().or_else(asked);
        values.push((name, value.unwrap_or_else(|| default.to_owned())));
    }
    values.extend(generator(init)?);
    values.extend(secrets::fresh());
    Ok(values)
}

fn generator(init: &Init) -> Result<Values, Error> {
    let provider = match init.provider {
        Some(provider) => provider,
        None => asked_provider()?,
    };
    let (name, kinds): (_, &[[&'static str; 3]]) = match provider {
        Generator::Replicate => ("replicate", &[VIDEO, IMAGE]),
        Generator::Openai => ("openai", &[IMAGE]),
        Generator::Fal => ("fal", &[VIDEO, IMAGE]),
        #[cfg(feature = "dev")]
        Generator::Simulator => return Ok(vec![("MOCK_EXTERNAL_APIS", "true".to_owned())]),
    };
    let mut values: Values = kinds
        .iter()
        .map(|[kind, ..]| (*kind, name.to_owned()))
        .collect();
    if let Some(file) = &init.key_file {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let file = file.display().to_string();
        values.extend(kinds.iter().map(|[_, _, in_file]| (*in_file, file.clone())));
        return Ok(values);
    }
    let key = match is_interactive() {
        true => ask_secret(&format!("API key of {name}, not shown: ")),
        false => None,
    };
    let key = key.unwrap_or_default();
    values.extend(
        kinds
            .iter()
            .map(|[_, variable, _]| (*variable, key.clone())),
    );
    Ok(values)
}

/// The variables of a kind of media: its provider, its key, and the file of its key.
const VIDEO: [&str; 3] = ["VIDEO_PROVIDER", "VIDEO_API_KEY", "VIDEO_API_KEY_FILE"];
const IMAGE: [&str; 3] = ["IMAGE_PROVIDER", "IMAGE_API_KEY", "IMAGE_API_KEY_FILE"];

fn asked_provider() -> Result<Generator, Error> {
    use clap::ValueEnum as _;

    let names = Generator::value_variants().iter();
    let names = names.filter_map(|it| Some(it.to_possible_value()?.get_name().to_owned()));
    let names = names.collect::<Vec<_>>().join(", ");
    let answer = ask(&format!("Provider ({names}) [replicate]: ")).unwrap_or_default();
    match answer.is_empty() {
        true => Ok(Generator::default()),
        false => Generator::from_str(&answer, true)
            .map_err(|_| Error::Usage(format!("{answer:?} is not one of {names}"))),
    }
}

fn setting(name: &str) -> Option<Setting> {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    catalogue::settings().into_iter().find(|it| it.name == name)
}

/// Checks the values as the roles would.
fn check(values: &Values) -> anyhow::Result<()> {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name);
    Config::load(|name| value(name).map(|(_, value)| value.clone()))?;
    Ok(())
}

/// Returns the file: each setting below what it is for.
fn contents(values: &Values) -> String {
    let mut text = String::from(
        "# genflow's settings, written by genflow init. All others, with their defaults: genflow config show, .env.example.\n\
         # Keep this file private, and back it up: data encrypted with its secrets cannot be read without them.\n",
    );
    let mut last = String::new();
    for (name, value) in values {
        let about = setting(name).map(|it| it.about).unwrap_or_default();
        if about != last {
            text.push('\n');
            for line in lines(&about) {
                // Writing to a string does not fail.
                writeln!(text, "# {line}").ok();
            }
            last = about;
        }
        writeln!(text, "{name}={}", quoted(value)).ok();
    }
    text
}

/// Breaks a text into lines of a comment.
fn lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut()
            && (line.is_empty() || line.len() + 1 + word.len() <= WIDTH)
        {
            let space = if line.is_empty() { "" } else { " " };
            line.push_str(space);
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Quotes a value as `.env` needs it.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+/=:,._-@%[]?&".contains(c);
    match value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', r"'\''")),
    }
}

/// Writes the file for this user alone, completely or not at all.
fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let what = || format!("cannot write {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!("{name}.{}.part", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .with_context(what)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    let placed = written.and_then(|()| match force {
        true => std::fs::rename(&draft, path),
        // Unlike a rename, this fails if the file exists.
        false => std::fs::hard_link(&draft, path),
    });
    // After a rename it is gone already.
    std::fs::remove_file(&draft).ok();
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path).into()),
        placed => placed.with_context(what),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::app::{Roles, settings};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("genflow-init-{}", uuid::Uuid::new_v4());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        fn init(&self) -> Init {
            Init {
                brokers: Some("kafka:9092".to_owned()),
                provider: Some(Generator::Fal),
                output: self.0.join(".env"),
                ..Init::default()
            }
        }

        fn read(&self) -> BTreeMap<String, String> {
            let lines = dotenvy::from_path_iter(self.0.join(".env")).unwrap();
            lines.map(Result::unwrap).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn all_roles_start_with_the_file_which_only_this_user_can_read() {
        let folder = Folder::new();

        run(&folder.init(), &mut Vec::new()).unwrap();

        let read = folder.read();
        let config = settings::load(Roles::ALL, |name| read.get(name).cloned()).unwrap();
        assert!(!config.is_development());
        assert_eq!(read["IMAGE_PROVIDER"], "fal");
        assert_eq!(read["TEMPORAL_HOST"], "127.0.0.1:7233");
        let mode = std::fs::metadata(folder.0.join(".env"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
        let text = std::fs::read_to_string(folder.0.join(".env")).unwrap();
        assert!(
            text.contains(
                "# Bootstrap brokers: host:port[,host:port].\nKAFKA_BROKERS=kafka:9092\n"
            ),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= WIDTH + 2), "{text}");
    }

    #[test]
    fn a_file_that_exists_is_kept_unless_the_user_says_otherwise() {
        let folder = Folder::new();
        let path = folder.0.join(".env");
        std::fs::write(&path, "MINE=1\n").unwrap();

        let error = run(&folder.init(), &mut Vec::new()).unwrap_err();
        // Also one that appears while the questions are answered.
        let late = write(&path, "x", false).unwrap_err();

        assert!(
            matches!(error.downcast_ref(), Some(Error::Usage(_))),
            "{error}"
        );
        assert!(late.to_string().contains("exists already"), "{late}");
        assert_eq!(folder.read()["MINE"], "1");
        let forced = Init {
            force: true,
            ..folder.init()
        };
        run(&forced, &mut Vec::new()).unwrap();
        assert!(!folder.read().contains_key("MINE"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_value_that_no_role_would_accept_is_refused_before_anything_is_written() {
        let folder = Folder::new();
        let init = Init {
            brokers: Some("nowhere".to_owned()),
            ..folder.init()
        };

        let error = run(&init, &mut Vec::new()).unwrap_err();

        assert!(error.to_string().contains("KAFKA_BROKERS"), "{error}");
        assert!(!folder.0.join(".env").exists());
    }

    #[test]
    fn a_key_can_stay_in_its_file() {
        let folder = Folder::new();
        let key = folder.0.join("key");
        std::fs::write(&key, "r8_key\n").unwrap();
        let init = Init {
            key_file: Some(key.clone()),
            ..folder.init()
        };

        run(&init, &mut Vec::new()).unwrap();

        let read = folder.read();
        assert_eq!(read["VIDEO_API_KEY_FILE"], key.display().to_string());
        assert!(!read.contains_key("VIDEO_API_KEY"));
    }
}
