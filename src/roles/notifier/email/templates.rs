//! The email templates: compiled in; a file of the same name in `NOTIFY_TEMPLATES` replaces one.
//!
//! Each is rendered before it is used, with an event that has every field and with one that has few. So a template that
//! uses an unknown variable, or does not check an optional one, is a fault at start, not a mail that is never sent. So is
//! an empty subject.

use std::io;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

use super::view::View;
use crate::domain::Event;
use crate::roles::notifier::wording::line;

/// The template of the subject.
const SUBJECT: &str = "email.subject";
/// The built-in templates: subject, text and HTML.
const BUILT_IN: [(&str, &str); 3] = [
    (SUBJECT, include_str!("../../../../templates/email.subject")),
    ("email.txt", include_str!("../../../../templates/email.txt")),
    (
        "email.html",
        include_str!("../../../../templates/email.html"),
    ),
];

/// Longest subject, in characters; mail programs show some fifty.
const LONGEST_SUBJECT: usize = 150;

/// Why templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateFault {
    #[error("{path} cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file has the name of no template, so it would have no effect, and only its author might notice.
    #[error("{0} matches no template; expected email.subject, email.txt or email.html")]
    Unknown(PathBuf),
    #[error("{name} is not a valid template")]
    Syntax {
        name: String,
        /// The place and the reason.
        #[source]
        source: minijinja::Error,
    },
    #[error("{name} does not render {sample}")]
    Rendering {
        name: &'static str,
        sample: &'static str,
        /// The place and the reason.
        #[source]
        source: minijinja::Error,
    },
    #[error("{SUBJECT} is empty for {sample}; expected one line of text")]
    NoSubject { sample: &'static str },
}

/// The templates, ready for use.
pub(super) struct Templates {
    environment: Environment<'static>,
}

#[derive(Debug)]
pub(super) struct Rendered {
    /// One line.
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

impl Templates {
    /// Reads the templates and renders each of them.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self, TemplateFault> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(lines_of_tags());
        for (name, source) in BUILT_IN {
            add(&mut environment, name, source.to_owned())?;
        }
        for path in folder.map(files).transpose()?.unwrap_or_default() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !BUILT_IN.iter().any(|(known, _)| *known == name) {
                return Err(TemplateFault::Unknown(path));
            }
            let source = std::fs::read_to_string(&path);
            let source = source.map_err(|source| unreadable(&path, source))?;
            add(&mut environment, &name, source)?;
        }
        let templates = Self { environment };
        templates.check()?;
        Ok(templates)
    }

    pub(super) fn render(&self, event: &Event) -> Result<Rendered, minijinja::Error> {
        let view = View::of(event);
        Ok(Rendered {
            subject: line(&self.one(SUBJECT, &view)?, LONGEST_SUBJECT),
            text: self.one("email.txt", &view)?,
            html: self.one("email.html", &view)?,
        })
    }

    fn check(&self) -> Result<(), TemplateFault> {
        let samples = [
            ("an event with every field", View::full()),
            ("an event with few fields", View::sparse()),
        ];
        for (sample, view) in samples {
            for (name, _) in BUILT_IN {
                let rendered = self.one(name, &view);
                let rendered = rendered.map_err(|source| TemplateFault::Rendering {
                    name,
                    sample,
                    source,
                })?;
                if name == SUBJECT && line(&rendered, LONGEST_SUBJECT).is_empty() {
                    return Err(TemplateFault::NoSubject { sample });
                }
            }
        }
        Ok(())
    }

    fn one(&self, name: &str, view: &View) -> Result<String, minijinja::Error> {
        self.environment.get_template(name)?.render(Serde(view))
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

fn add(environment: &mut Environment<'_>, name: &str, source: String) -> Result<(), TemplateFault> {
    let added = environment.add_template_owned(name.to_owned(), source);
    added.map_err(|source| TemplateFault::Syntax {
        name: name.to_owned(),
        source,
    })
}

/// Lists the files of the folder without hidden ones: a mounted Kubernetes volume has some.
fn files(folder: &Path) -> Result<Vec<PathBuf>, TemplateFault> {
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

fn unreadable(path: &Path, source: io::Error) -> TemplateFault {
    TemplateFault::Unreadable {
        path: path.to_owned(),
        source,
    }
}
