//! Why engines could not start, or ended by themselves: one message with the action to take.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why engines could not start, or ended by themselves.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Programs are missing that only the user can install. Nothing was started.
    #[error("missing on this machine: {}", join(.0))]
    Missing(Vec<Missing>),
    /// Another process listens on a requested port.
    #[error(
        "{engine} cannot listen on port {port}: it is taken; stop the program there, set {variable} to use it, or add --ports free"
    )]
    PortTaken {
        engine: &'static str,
        port: u16,
        variable: &'static str,
    },
    /// A step of the installation failed; the next start tries it again.
    #[error("{what} could not be installed: {reason}{log}")]
    Install {
        what: &'static str,
        reason: String,
        log: LogEnd,
    },
    /// An engine ended by itself.
    #[error("{engine} ended by itself ({status}){log}")]
    Exited {
        engine: &'static str,
        status: ExitStatus,
        log: LogEnd,
    },
    /// An engine runs but did not become ready in time.
    #[error("{engine} was not ready after {} s; see its log, then start genflow again{log}", .after.as_secs())]
    NotReady {
        engine: &'static str,
        after: Duration,
        log: LogEnd,
    },
    /// The operating system refused a file or a process.
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

impl Error {
    pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("cannot {what} {}", path.display());
        move |source| Self::Io { what, source }
    }

    /// Returns whether an engine ended because a port was taken.
    pub(super) fn is_address_in_use(&self) -> bool {
        let Self::Exited { log, .. } = self else {
            return false;
        };
        let text = read(&log.path).to_lowercase();
        ["address already in use", "in use by another process"]
            .iter()
            .any(|sign| text.contains(sign))
    }
}

/// A program that is missing, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub program: &'static str,
    /// Its purpose, and how to install it.
    pub advice: &'static str,
}

fn join(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(|m| format!("{} ({})", m.program, m.advice))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The path of a log and its last lines, for the end of a message.
#[derive(Debug, Default)]
pub struct LogEnd {
    path: PathBuf,
    lines: String,
}

impl LogEnd {
    const LINES: usize = 12;

    /// Reads the end of the log at `path`; a log that cannot be read counts as empty.
    pub(super) fn of(path: &Path) -> Self {
        let lines: Vec<_> = read(path)
            .split(['\n', '\r'])
            .filter(|line| is_worth_showing(line))
            .map(without_addresses)
            .collect();
        let lines = lines[lines.len().saturating_sub(Self::LINES)..].join("\n  ");
        Self {
            path: path.to_owned(),
            lines,
        }
    }
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        write!(f, "; log: {}", self.path.display())?;
        if self.lines.is_empty() {
            Ok(())
        } else {
            write!(f, "\n  {}", self.lines)
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Prefixes of lines without information: Maven's progress and its general advice.
const NOISE: [&str; 7] = [
    "Progress (",
    "[INFO]",
    "[ERROR] To see the full stack trace",
    "[ERROR] Re-run Maven",
    "[ERROR] For more information",
    "[ERROR] [Help",
    "\u{1b}[0m",
];

/// Returns whether a line is worth showing: not blank, no noise, no frame of a Java stack trace.
fn is_worth_showing(line: &str) -> bool {
    let line = line.trim();
    let is_frame = line.starts_with("at ") && line.ends_with(')');
    let is_noise = NOISE.iter().any(|noise| line.starts_with(noise));
    !matches!(line, "" | "[ERROR]") && !is_frame && !is_noise
}

/// The texts before and after a host name in the output of Maven and pip.
const AROUND_HOSTS: [(&str, &[char]); 5] = [
    ("https://", &[' ', ')', '\'', '"', ',']),
    ("http://", &[' ', ')', '\'', '"', ',']),
    ("Connect to ", &[']']),
    ("Unknown host ", &[' ', ':']),
    ("host='", &['\'']),
];

/// Hides the hosts that a machine downloads from, which do not belong on screens and in bug reports.
fn without_addresses(line: &str) -> String {
    let hide = |line: String, &(before, after): &(&str, &[char])| hide(&line, before, after);
    AROUND_HOSTS.iter().fold(line.to_owned(), hide)
}

/// Replaces the text after each `before`, up to the first of `after`.
fn hide(line: &str, before: &str, after: &[char]) -> String {
    let mut parts = line.split(before);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(before);
        // genflow's own engines are on loopback; hiding their addresses would hide the cause.
        if ["127.0.0.1", "localhost"]
            .iter()
            .any(|own| part.starts_with(own))
        {
            kept.push_str(part);
            continue;
        }
        kept.push_str("***");
        kept.push_str(
            part.find(after)
                .and_then(|end| part.get(end..))
                .unwrap_or_default(),
        );
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_programs_are_named_on_one_line() {
        let error = Error::Missing(vec![
            Missing {
                program: "mvn",
                advice: "apt-get install maven",
            },
            Missing {
                program: "java",
                advice: "install a JDK",
            },
        ]);

        assert_eq!(
            error.to_string(),
            "missing on this machine: mvn (apt-get install maven); java (install a JDK)"
        );
    }

    #[test]
    fn a_taken_port_names_engine_port_and_way_out() {
        let error = Error::PortTaken {
            engine: "Kafka",
            port: 9092,
            variable: "KAFKA_BROKERS",
        };

        assert_eq!(
            error.to_string(),
            "Kafka cannot listen on port 9092: it is taken; stop the program there, set KAFKA_BROKERS to use it, or add --ports free"
        );
    }

    #[test]
    fn the_end_of_a_log_shows_its_last_lines_without_addresses() {
        let log = std::env::temp_dir().join(format!("genflow-log-{}", uuid::Uuid::new_v4()));
        let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
        std::fs::write(
            &log,
            text + "\nProgress (1): 3/5 kB\rProgress (1): 4/5 kB\r[ERROR] from central (https://repo.test/a/b): refused\n",
        )
        .unwrap();

        let shown = LogEnd::of(&log).to_string();

        std::fs::remove_file(&log).unwrap();
        assert!(
            shown.starts_with(&format!("; log: {}\n  line 29\n", log.display())),
            "{shown}"
        );
        assert!(
            shown.ends_with("\n  [ERROR] from central (https://***): refused"),
            "{shown}"
        );
    }

    #[test]
    fn a_missing_log_is_not_a_second_failure() {
        assert_eq!(
            LogEnd::of(Path::new("/nowhere/x.log")).to_string(),
            "; log: /nowhere/x.log"
        );
        assert_eq!(LogEnd::default().to_string(), "");
    }

    #[test]
    fn hosts_are_hidden_unless_they_are_our_own() {
        for (line, shown) in [
            ("at http://127.0.0.1:1/x", "at http://127.0.0.1:1/x"),
            ("at http://localhost:1", "at http://localhost:1"),
            (
                "https://a.test/x and http://b.test",
                "https://*** and http://***",
            ),
            (
                "Connect to a.test:443 [a.test/10.0.0.1] failed: refused",
                "Connect to ***] failed: refused",
            ),
            (
                "Unknown host a.test: no such name",
                "Unknown host ***: no such name",
            ),
            (
                "Pool(host='a.test', port=443)",
                "Pool(host='***', port=443)",
            ),
            ("nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(without_addresses(line), shown);
        }
    }

    #[test]
    fn stack_frames_and_mavens_advice_are_left_out() {
        let said = [
            "",
            "[INFO] ---",
            "[ERROR] ",
            "\tat a.b.C.d(C.java:1)",
            "[ERROR] [Help 1] x",
        ];

        assert!(!said.into_iter().any(is_worth_showing));
        assert!(is_worth_showing("[ERROR] Plugin x could not be resolved"));
        assert!(is_worth_showing("at the end"));
    }
}
