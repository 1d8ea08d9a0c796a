//! `genflow doctor`: prints the findings.

use std::io::Write;

use super::table::style_of;
use crate::engines::config::Config;
use crate::operate::doctor;
use crate::operate::doctor::{Finding, Report};
use crate::operate::text::plain;

/// Makes all checks and prints the findings, one per line or as JSON; the exit code is 1 if any fails.
///
/// # Errors
/// The output is closed.
pub async fn run(
    config: &Config,
    json: bool,
    try_fairness: bool,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let report = doctor::examine(config, try_fairness).await;
    if json {
        let text = serde_json::to_string(&report)?;
        writeln!(out, "{text}")?;
    } else {
        print(&report, out)?;
    }
    Ok(u8::from(!report.ok))
}

fn print(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    for check in &report.checks {
        let Finding {
            check: name,
            verdict,
            found,
            advice,
        } = check;
        let verdict = format!("{verdict:<7}");
        let style = style_of(verdict.trim());
        // It may contain a user id, which is text from others.
        write!(out, "{style}{verdict}{style:#}  {name}: {}", plain(found))?;
        if let Some(advice) = advice {
            write!(out, " -> {advice}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::cli::table::without_colors;
    use crate::operate::doctor::Verdict;

    #[test]
    fn a_check_is_a_line() {
        let check = |verdict, advice: Option<&str>| Finding {
            check: "topic gen.requests".to_owned(),
            verdict,
            found: "is\u{1b}so".to_owned(),
            advice: advice.map(str::to_owned),
        };
        let report = Report {
            ok: false,
            checks: vec![
                check(Verdict::Ok, None),
                check(Verdict::Fail, Some("genflow setup")),
            ],
        };
        assert_eq!(
            without_colors(|out| print(&report, out).unwrap()),
            "ok       topic gen.requests: is so\nFAIL     topic gen.requests: is so -> genflow setup\n"
        );
    }
}
