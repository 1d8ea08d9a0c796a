//! What a person sees while engines are installed and started: on a terminal one line for each engine, with a bar while
//! something is downloaded; otherwise a line for each step that has ended.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::engines::Progress;
use super::say;

/// The steps of all engines.
pub(super) struct Board {
    /// `None` if standard output is not a terminal.
    terminal: Option<Terminal>,
    /// The newest step of each engine.
    steps: Mutex<BTreeMap<&'static str, String>>,
}

/// The lines on a terminal, by engine.
struct Terminal {
    all: MultiProgress,
    lines: Mutex<BTreeMap<&'static str, ProgressBar>>,
}

/// How often a line that waits moves.
const TICK: Duration = Duration::from_millis(100);

const WAITING: &str = "  {prefix:<19} {spinner} {msg} {elapsed}";
const DOWNLOADING: &str = "  {prefix:<19} [{bar:24}] {msg}";
const ENDED: &str = "  {prefix:<19} {msg}";

impl Board {
    pub(super) fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            terminal: is_terminal.then(|| Terminal::on(ProgressDrawTarget::stdout())),
            steps: Mutex::default(),
        }
    }

    /// Shows a step.
    pub(super) fn show(&self, progress: &Progress) {
        let step = match progress {
            Progress::Note(_) => None,
            Progress::Installing { engine, step, .. } => Some((engine, step.clone())),
            Progress::Installed(engine) => Some((engine, "installed".to_owned())),
            Progress::Starting(engine) => Some((engine, "starting".to_owned())),
            Progress::Ready { engine, address } => Some((engine, format!("ready at {address}"))),
        };
        match (&self.terminal, &step) {
            (Some(terminal), _) => terminal.show(progress, step.as_ref().map(|(_, step)| &**step)),
            (None, _) if matches!(progress, Progress::Starting(_)) => {}
            (None, _) => say(&format!("  {progress}")),
        }
        if let Some((engine, step)) = step {
            self.steps.lock().insert(*engine, step);
        }
    }

    /// Returns the newest step of each engine.
    pub(super) fn steps(&self) -> BTreeMap<&'static str, String> {
        self.steps.lock().clone()
    }
}

impl Terminal {
    fn on(target: ProgressDrawTarget) -> Self {
        Self {
            all: MultiProgress::with_draw_target(target),
            lines: Mutex::default(),
        }
    }

    fn show(&self, progress: &Progress, step: Option<&str>) {
        let (engine, done, has_ended) = match progress {
            Progress::Note(note) => {
                // If the terminal is gone, there is nowhere left to report it.
                self.all.println(format!("  {note}")).ok();
                return;
            }
            Progress::Installing { engine, done, .. } => (*engine, *done, false),
            Progress::Starting(engine) => (*engine, None, false),
            Progress::Installed(engine) | Progress::Ready { engine, .. } => (*engine, None, true),
        };
        let line = self.line(engine);
        line.set_message(step.unwrap_or_default().to_owned());
        if let Some((here, of)) = done {
            line.set_style(style(DOWNLOADING));
            line.set_length(of);
            line.set_position(here);
        } else if has_ended {
            line.disable_steady_tick();
            line.set_style(style(ENDED));
            line.finish();
        } else {
            line.set_style(style(WAITING));
        }
    }

    /// Returns the line of an engine; a new one below the others, if it has none yet.
    fn line(&self, engine: &'static str) -> ProgressBar {
        let mut lines = self.lines.lock();
        let line = lines.entry(engine).or_insert_with(|| {
            let line = self.all.add(ProgressBar::new_spinner());
            line.set_prefix(engine);
            line.enable_steady_tick(TICK);
            line
        });
        line.clone()
    }
}

/// Returns a style; the templates are constants, which a test reads.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_one_line_for_each_engine() {
        let board = Board {
            terminal: Some(Terminal::on(ProgressDrawTarget::hidden())),
            steps: Mutex::default(),
        };
        let installing = |here| Progress::Installing {
            engine: "Kafka",
            step: format!("{here} files downloaded"),
            done: Some((here, 300)),
        };
        let lines = || board.terminal.as_ref().unwrap().lines.lock();
        let address = "127.0.0.1:9092".to_owned();

        board.show(&installing(100));
        board.show(&installing(150));
        let bar = lines()["Kafka"].clone();
        assert_eq!((bar.position(), bar.length()), (150, Some(300)));
        board.show(&Progress::Starting("Kafka"));
        board.show(&Progress::Starting("Temporal"));
        let (engine, note) = ("Kafka", "of none".to_owned());
        board.show(&Progress::Ready { engine, address });
        board.show(&Progress::Note(note));

        assert_eq!(lines().len(), 2);
        assert_eq!(bar.message(), "ready at 127.0.0.1:9092");
        assert!(bar.is_finished() && !lines()["Temporal"].is_finished());
        assert_eq!(board.steps()["Temporal"], "starting");
    }

    #[test]
    fn all_templates_are_valid() {
        for template in [WAITING, DOWNLOADING, ENDED] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
