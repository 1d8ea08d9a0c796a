//! The results bucket, tested with a probe object. `local` checks a results folder.

use std::io;

use super::{Finding, causes};
use crate::engines::config::{Config, S3};
use crate::engines::storage::{Store, Trial};

const CHECK: &str = "S3_BUCKET";

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let Some(s3) = &config.worker.s3 else {
        return Vec::new();
    };
    match Store::open(&config.worker) {
        Ok(store) => judge(&store.shown(), s3, store.trial().await),
        Err(error) => vec![
            Finding::fail(
                CHECK,
                format!("the S3 client cannot be created: {}", causes(&error)),
            )
            .advise("check the settings S3_… and AWS_…"),
        ],
    }
}

fn judge(shown: &str, s3: &S3, trial: Trial) -> Vec<Finding> {
    let failed = trial.steps.iter().find_map(|(step, done)| {
        let error = done.as_ref().err()?;
        Some((*step, error))
    });
    let mut findings = vec![match failed {
        Some((step, error)) => {
            let why = causes(error);
            Finding::fail(
                CHECK,
                format!("{shown} fails at the step \"{step}\": {why}"),
            )
            .advise(advice(step, error))
        }
        None => match trial.create_only {
            Some(true) => Finding::ok(
                CHECK,
                format!(
                    "{shown} can be written, read and deleted, and does not overwrite existing objects"
                ),
            ),
            Some(false) => Finding::warn(
                CHECK,
                format!("{shown} works, but overwrites existing objects: it ignores If-None-Match"),
            )
            .advise("names are content hashes, so no result is lost; a newer server is safer"),
            None => Finding::unknown(
                CHECK,
                format!(
                    "{shown} can be written, read and deleted; the test whether it overwrites existing objects failed"
                ),
            )
            .advise("run genflow doctor again"),
        },
    }];
    let signed = trial.signed.map(|signed| match signed {
        Ok(()) => Finding::ok("RESULT_URL_TTL", "a signed url returns the object"),
        Err(error) => Finding::fail(
            "RESULT_URL_TTL",
            format!("a signed url does not return the object: {}", causes(&error)),
        )
        .advise("its host is that of S3_ENDPOINT or of the region: check that it is reachable from here"),
    });
    findings.extend(signed);
    if !s3.has_keys() && s3.url_ttl.is_some() {
        findings.push(
            Finding::warn(
                "AWS_ACCESS_KEY_ID",
                "is not set: a signed url expires with the temporary keys of the role, mostly within hours",
            )
            .advise(
                "set keys of your own, or expect urls to expire before RESULT_URL_TTL",
            ),
        );
    }
    findings
}

fn advice(step: &str, error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return match step {
            "look for" => {
                "allow s3:ListBucket on the bucket and s3:GetObject on its objects, and check the keys and the region"
            }
            "write" => "allow s3:PutObject",
            "read" => "allow s3:GetObject",
            "delete" => "allow s3:DeleteObject, or remove the object .genflow-doctor-… by hand",
            _ => "allow s3:PutObject and s3:AbortMultipartUpload",
        };
    }
    "check S3_BUCKET, S3_ENDPOINT and AWS_REGION, and whether the server is reachable from here"
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn trial(
        steps: Vec<(&'static str, io::Result<()>)>,
        create_only: impl Into<Option<bool>>,
    ) -> Trial {
        Trial {
            steps,
            create_only: create_only.into(),
            signed: None,
        }
    }

    fn verdicts(keys: &[(&str, &str)], trial: Trial) -> Vec<Verdict> {
        let bucket = [("S3_BUCKET", "media"), ("RESULT_URL_TTL", "1d")];
        let config = Config::of(&[&bucket, keys].concat());
        let s3 = config.unwrap().worker.s3.unwrap();
        let findings = judge("s3://media/", &s3, trial);
        findings.iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_step_that_fails_is_a_failure_and_a_server_that_replaces_is_a_warning() {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let denied = || Err(io::ErrorKind::PermissionDenied.into());

        let well = trial(vec![("write", Ok(())), ("delete", Ok(()))], true);
        let kept = trial(vec![("write", Ok(())), ("delete", denied())], true);
        let replaced = trial(vec![("write", Ok(()))], false);
        let untested = trial(vec![("write", Ok(()))], None);

        assert_eq!(verdicts(&keys, well), [Verdict::Ok]);
        assert_eq!(verdicts(&keys, kept), [Verdict::Fail]);
        assert_eq!(verdicts(&keys, replaced), [Verdict::Warn]);
        assert_eq!(verdicts(&keys, untested), [Verdict::Unknown]);
    }

    #[test]
    fn urls_that_are_signed_with_the_keys_of_a_role_expire_early() {
        let well = trial(vec![("write", Ok(()))], true);

        assert_eq!(verdicts(&[], well), [Verdict::Ok, Verdict::Warn]);
    }
}
