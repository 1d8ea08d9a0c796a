//! This machine: whether its secrets are public, its mail and operators' settings, its templates, and the folders of
//! downloads and results.

use std::fs::{File, read, remove_file};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::{Finding, causes};
use crate::domain::email_address::FromAddress;
use crate::engines::config::{Config, Fault, dev};
use crate::engines::storage::temp;
use crate::roles::notifier::email::check_templates;

const GIB: u64 = 1024 * 1024 * 1024;
const PROBE: &[u8] = b"genflow doctor was here";

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let room = config.worker.max_output_bytes;
    let mut findings = vec![
        notify_keys(config),
        signing_secret(config),
        mail(config),
        operators(config),
        templates(config),
    ];
    if config.worker.s3.is_none() {
        findings.push(folder("RESULTS_DIR", &config.worker.results_dir, room));
    }
    findings.push(temp(&config.worker.temp_dir, room));
    findings
}

fn temp(path: &Path, room: u64) -> Finding {
    match temp::check(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::fail(
            "TEMP_DIR",
            error.to_string(),
        )
        .advise(
            "set a folder that only the worker's user can write to; the worker refuses this one",
        ),
        Ok(()) | Err(_) => folder("TEMP_DIR", path, room),
    }
}

fn notify_keys(config: &Config) -> Finding {
    let public = config
        .notify_keys
        .iter()
        .any(|key| dev::is_public(&key.key));
    judge_secret("NOTIFY_KEYS", public, config.check_notify_keys())
}

fn signing_secret(config: &Config) -> Finding {
    let public = config.notifier.signing_secrets.iter().any(dev::is_public);
    let checked = config.check_signing_secrets();
    judge_secret("WEBHOOK_SIGNING_SECRET", public, checked)
}

fn mail(config: &Config) -> Finding {
    let check = "SMTP_URL";
    let Some(email) = &config.notifier.email else {
        return Finding::ok(check, "is not set: email targets end as SKIPPED");
    };
    let server = email.server.shown();
    if email.allowed_domains.is_empty() {
        let found =
            format!("{server}; EMAIL_ALLOWED_DOMAINS is not set: email targets end as SKIPPED");
        return Finding::warn(check, found)
            .advise("set EMAIL_ALLOWED_DOMAINS to the domains that tenants may name, or to *");
    }
    let ours = dev::EMAIL_FROM.parse();
    if ours.is_ok_and(|ours: FromAddress| ours == email.from) {
        return Finding::warn(
            check,
            format!("{server}; EMAIL_FROM is the development default"),
        )
        .advise("set EMAIL_FROM: few mail servers accept mail from localhost");
    }
    Finding::ok(check, server)
}

fn operators(config: &Config) -> Finding {
    let notifier = &config.notifier;
    let by = match (&notifier.ops_slack, &notifier.ops_email) {
        (Some(_), Some(_)) => "OPS_SLACK_WEBHOOK_URL and OPS_EMAIL",
        (Some(_), None) => "OPS_SLACK_WEBHOOK_URL",
        (None, Some(_)) => "OPS_EMAIL",
        (None, None) => {
            let found =
                "OPS_SLACK_WEBHOOK_URL and OPS_EMAIL are not set: operators get no failure reports";
            return Finding::ok("operators", found);
        }
    };
    Finding::ok("operators", format!("get failure reports by {by}"))
}

fn templates(config: &Config) -> Finding {
    let check = "NOTIFY_TEMPLATES";
    let folder = config.notifier.templates.as_deref();
    match (check_templates(folder), folder) {
        (Err(error), _) => Finding::fail(check, causes(&error)).advise(
            "correct the file, or remove it to use the built-in one; the notifier does not start with it",
        ),
        (Ok(()), Some(folder)) => Finding::ok(
            check,
            format!("the templates in {} render every type of event", folder.display()),
        ),
        (Ok(()), None) => Finding::ok(check, "is not set: the built-in templates are used"),
    }
}

fn judge_secret(variable: &str, public: bool, checked: Result<(), Fault>) -> Finding {
    let advice = "set your own: genflow secrets prints one";
    match (checked, public) {
        (Err(fault), _) => Finding::fail(variable, fault.problem).advise(advice),
        (Ok(()), true) => {
            Finding::warn(variable, "holds the public development secret").advise(advice)
        }
        (Ok(()), false) => Finding::ok(variable, "is your own"),
    }
}

fn folder(variable: &str, path: &Path, room: u64) -> Finding {
    let shown = path.display();
    let (there, writable) = writable(path);
    let state = if there {
        ""
    } else {
        " (missing, the worker creates it)"
    };
    if let Err(error) = writable {
        return Finding::fail(
            variable,
            format!("{shown} cannot be written to: {}", causes(&error)),
        )
        .advise("set it to a folder that the worker's user can write to");
    }
    match free(path) {
        Ok(free) if free < room => Finding::warn(
            variable,
            format!(
                "{shown} is writable{state}, {} free: less than one output of MAX_OUTPUT_BYTES",
                size(free)
            ),
        )
        .advise("free some space, or use another disk"),
        Ok(free) => Finding::ok(
            variable,
            format!("{shown} is writable{state}, {} free", size(free)),
        ),
        Err(error) => Finding::unknown(
            variable,
            format!(
                "{shown} is writable{state}; its free space is unknown: {}",
                causes(&error)
            ),
        ),
    }
}

/// Returns whether the folder exists, and whether it can be written to or created.
fn writable(path: &Path) -> (bool, io::Result<()>) {
    let near = nearest(path);
    if near != path {
        let made = access(near, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from);
        return (false, made);
    }
    // Permissions do not show that a disk is full or mounted read-only, so write a file and read it back.
    let probe = path.join(format!(".genflow-doctor-{}", std::process::id()));
    let written = File::create_new(&probe).and_then(|mut file| {
        file.write_all(PROBE)?;
        file.sync_all()
    });
    let whole = written.and_then(|()| match read(&probe)? {
        bytes if bytes == PROBE => Ok(()),
        _ => Err(io::Error::other(
            "the bytes read back are not those written",
        )),
    });
    let removed = remove_file(&probe);
    (true, whole.and(removed))
}

/// Returns the folder itself, or its nearest ancestor that exists.
fn nearest(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("."))
}

fn free(path: &Path) -> io::Result<u64> {
    let disk = statvfs(nearest(path))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn size(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / GIB;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_public_defaults_warn_or_fail_and_ones_own_do_not() {
        let verdicts = |set: &[(&str, &str)]| {
            let config = Config::of(set).unwrap();
            [notify_keys(&config), signing_secret(&config)].map(|finding| finding.verdict)
        };
        let elsewhere = ("KAFKA_BROKERS", "kafka:9092");
        let own = [
            (
                "NOTIFY_KEYS",
                "a:0123456789abcdefghijklmnopqrstuvwxyzABCDEFE=",
            ),
            (
                "WEBHOOK_SIGNING_SECRET",
                "whsec_0123456789abcdefghijklmnopqrstuv",
            ),
            elsewhere,
        ];

        assert_eq!(verdicts(&[]), [Verdict::Warn; 2]);
        assert_eq!(verdicts(&[elsewhere]), [Verdict::Fail; 2]);
        assert_eq!(verdicts(&own), [Verdict::Ok; 2]);
    }

    #[test]
    fn mail_that_may_go_nowhere_warns() {
        let verdict = |domains: &str| {
            let config = Config::of(&[
                ("SMTP_URL", "smtp://mail.test"),
                ("EMAIL_FROM", "genflow@mail.test"),
                ("KAFKA_BROKERS", "kafka:9092"),
                ("EMAIL_ALLOWED_DOMAINS", domains),
            ]);
            mail(&config.unwrap()).verdict
        };

        assert_eq!(verdict(""), Verdict::Warn);
        assert_eq!(verdict("*"), Verdict::Ok);
    }

    #[test]
    fn a_folder_is_written_to_and_left_as_it_was() {
        let folder = std::env::temp_dir().join(format!("genflow-doctor-{}", uuid::Uuid::new_v4()));
        let judge = |room| super::folder("TEMP_DIR", &folder, room);

        assert!(judge(0).found.contains("missing, the worker creates it"));
        assert!(!folder.exists());
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(judge(0).verdict, Verdict::Ok);
        assert_eq!(judge(u64::MAX).verdict, Verdict::Warn);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_temp_folder_that_others_may_write_fails_as_it_does_when_a_worker_starts() {
        use std::os::unix::fs::PermissionsExt;

        let folder = std::env::temp_dir().join(format!("genflow-doctor-{}", uuid::Uuid::new_v4()));
        assert_eq!(temp(&folder, 0).verdict, Verdict::Ok);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();

        let found = temp(&folder, 0);

        std::fs::remove_dir(&folder).unwrap();
        assert_eq!(found.verdict, Verdict::Fail);
        assert!(found.found.contains("can be written by other users"));
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_fails() {
        let file = std::env::temp_dir().join(format!("genflow-doctor-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "").unwrap();

        assert_eq!(folder("TEMP_DIR", &file, 0).verdict, Verdict::Fail);
        assert_eq!(
            folder("TEMP_DIR", &file.join("below"), 0).verdict,
            Verdict::Fail
        );
        std::fs::remove_file(&file).unwrap();
    }
}
