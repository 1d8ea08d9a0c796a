//! The email templates: compiled in; a file of the same name in `NOTIFY_TEMPLATES` replaces one.
//!
//! All are rendered with every example before any is used, so an unknown variable is a fault at start, not an
//! incomplete mail.

use std::io;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::examples;
use super::failures::Failures;
use super::view::{View, line};
use crate::contract::digest::Gathered;
use crate::domain::Event;

/// Subject, text and HTML: of a mail about an event, and of one to the operators.
const EVENT: [&str; 3] = ["email.subject", "email.txt", "email.html"];
const DIGEST: [&str; 3] = ["digest.subject", "digest.txt", "digest.html"];

/// The built-in templates, in the same order.
const OURS: [&str; 6] = [
    include_str!("../../../../templates/email.subject"),
    include_str!("../../../../templates/email.txt"),
    include_str!("../../../../templates/email.html"),
    include_str!("../../../../templates/digest.subject"),
    include_str!("../../../../templates/digest.txt"),
    include_str!("../../../../templates/digest.html"),
];

/// Longest subject, in characters; mail programs show some fifty.
const LONGEST_SUBJECT: usize = 150;

/// Why templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The folder or a file of it cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file has the name of no template, so it would have no effect, and only its author might notice.
    #[error("{0} matches no template; expected email or digest, with .subject, .txt or .html")]
    Unknown(PathBuf),
    /// A file is not a valid template.
    #[error("{name} is not a valid template")]
    Syntax {
        /// The template's name.
        name: String,
        /// The place and the reason.
        #[source]
        source: minijinja::Error,
    },
    /// A template does not render an example.
    #[error("{name} does not render the example {example}")]
    Rendering {
        /// The template's name.
        name: &'static str,
        /// The example's name.
        example: &'static str,
        /// The place and the reason.
        #[source]
        source: minijinja::Error,
    },
    /// A template renders an example to nothing.
    #[error("{name} renders to nothing for the example {example}")]
    Empty {
        /// The template's name.
        name: &'static str,
        /// The example's name.
        example: &'static str,
    },
}

/// The templates, ready for use.
pub(super) struct Templates {
    environment: Environment<'static>,
}

/// The texts of a mail.
#[derive(Debug)]
pub(super) struct Rendered {
    /// One line.
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

impl Templates {
    /// Reads the templates and renders every example with them.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self, Fault> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(lines_of_tags());
        let names = || EVENT.into_iter().chain(DIGEST);
        for (name, source) in names().zip(OURS) {
            add(&mut environment, name, source.to_owned())?;
        }
        for path in folder.map(files).transpose()?.unwrap_or_default() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !names().any(|ours| ours == name) {
                return Err(Fault::Unknown(path));
            }
            let source = std::fs::read_to_string(&path);
            let source = source.map_err(|source| unreadable(&path, source))?;
            add(&mut environment, &name, source)?;
        }
        let templates = Self { environment };
        templates.try_all()?;
        Ok(templates)
    }

    /// Returns the texts about an event.
    pub(super) fn render(&self, event: &Event) -> Result<Rendered, minijinja::Error> {
        self.words(EVENT, &View::of(event))
    }

    /// Returns the texts of a digest for operators.
    pub(super) fn render_digest(&self, gathered: &Gathered) -> Result<Rendered, minijinja::Error> {
        self.words(DIGEST, &Failures::of(gathered))
    }

    fn words(
        &self,
        [subject, text, html]: [&str; 3],
        view: &impl Serialize,
    ) -> Result<Rendered, minijinja::Error> {
        Ok(Rendered {
            subject: line(&self.one(subject, view)?, LONGEST_SUBJECT),
            text: self.one(text, view)?,
            html: self.one(html, view)?,
        })
    }

    fn one(&self, name: &str, view: &impl Serialize) -> Result<String, minijinja::Error> {
        self.environment.get_template(name)?.render(Serde(view))
    }

    fn try_all(&self) -> Result<(), Fault> {
        for (example, event) in examples::all() {
            self.try_one(EVENT, example, &View::of(&event))?;
        }
        for (example, gathered) in examples::digests() {
            self.try_one(DIGEST, example, &Failures::of(&gathered))?;
        }
        Ok(())
    }

    fn try_one(
        &self,
        names: [&'static str; 3],
        example: &'static str,
        view: &impl Serialize,
    ) -> Result<(), Fault> {
        for name in names {
            let text = self.one(name, view).map_err(|source| Fault::Rendering {
                name,
                example,
                source,
            })?;
            if text.trim().is_empty() {
                return Err(Fault::Empty { name, example });
            }
        }
        Ok(())
    }
}

/// Returns the syntax in which a line with only a tag leaves no empty line.
#[expect(
    clippy::expect_used,
    reason = "it differs from the default by two flags; every test of a mail builds it"
)]
fn lines_of_tags() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    syntax.build().expect("the delimiters are the default ones")
}

fn add(environment: &mut Environment<'_>, name: &str, source: String) -> Result<(), Fault> {
    let added = environment.add_template_owned(name.to_owned(), source);
    added.map_err(|source| Fault::Syntax {
        name: name.to_owned(),
        source,
    })
}

/// Lists the files of the folder without hidden ones: a mounted Kubernetes volume has some.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let fault = |source| unreadable(folder, source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, source: io::Error) -> Fault {
    Fault::Unreadable {
        path: path.to_owned(),
        source,
    }
}
