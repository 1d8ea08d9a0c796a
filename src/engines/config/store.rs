//! Settings of the results bucket: S3, or a server that speaks its protocol.

use std::time::Duration;

use url::Url;

use super::vars::{Vars, has_login};
use crate::domain::{Secret, parse_http_url};

/// A bucket, and how to reach it.
#[derive(Clone, Debug)]
pub struct S3 {
    pub bucket: String,
    /// Prefix of every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Server to use instead of that of the region; the bucket is then part of the path.
    pub endpoint: Option<Url>,
    /// AWS's own variables that are set, each a name and its value: the region, and the keys or the role.
    pub aws: Vec<(&'static str, Secret)>,
    /// How long the signed `url` of an output is valid; `None`: outputs have no `url`.
    pub url_ttl: Option<Duration>,
}

/// A signature of S3 is valid for a week at most.
const LONGEST_URL: Duration = Duration::from_secs(7 * 86_400);

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// Variables by which EKS, ECS and EC2 say how to get the keys of a role.
const ROLE: [&str; 8] = [
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_ENDPOINT",
];

impl S3 {
    /// Returns whether static keys are set. Without them, the platform gives the keys of a role.
    pub fn has_keys(&self) -> bool {
        self.aws.iter().any(|(name, _)| *name == KEY_ID)
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> Option<S3> {
    let bucket = bucket(vars);
    let s3 = S3 {
        bucket: bucket.clone().unwrap_or_default(),
        prefix: prefix(vars),
        endpoint: endpoint(vars),
        aws: aws(vars),
        url_ttl: url_ttl(vars, bucket.is_some()),
    };
    bucket.map(|_| s3)
}

fn bucket(vars: &mut Vars<'_>) -> Option<String> {
    const NAME: &str = "S3_BUCKET";
    let bucket = vars.optional(NAME)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(3..=255).contains(&bucket.len()) || !bucket.chars().all(good) {
        let want = "expected only the name of a bucket: 3 to 255 letters, digits, '.', '_' or '-'";
        vars.fault(NAME, &format!("is {bucket:?}, {want}"));
    }
    Some(bucket)
}

fn prefix(vars: &mut Vars<'_>) -> String {
    const NAME: &str = "S3_PREFIX";
    let text = vars.string(NAME, "");
    let prefix = text.trim_matches('/');
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=');
    let is_name = |part: &str| {
        !matches!(part, "" | "." | "..") && part.len() <= 200 && part.chars().all(good)
    };
    if !prefix.is_empty() && (prefix.len() > 500 || !prefix.split('/').all(is_name)) {
        let want = "expected names separated by '/', each of at most 200 letters, digits, '.', '_', '-' or '=', \
                    in all at most 500 characters";
        vars.fault(NAME, &format!("is {text:?}, {want}"));
    }
    prefix.to_owned()
}

fn endpoint(vars: &mut Vars<'_>) -> Option<Url> {
    const NAME: &str = "S3_ENDPOINT";
    let text = vars.optional(NAME)?;
    // A signed request has no place for a login or a query.
    let url = parse_http_url(&text).filter(|url| !has_login(url) && url.query().is_none());
    if url.is_none() {
        vars.fault(
            NAME,
            "is invalid, expected an http or https URL without user and query, such as https://minio.example.com",
        );
    }
    url
}

fn aws(vars: &mut Vars<'_>) -> Vec<(&'static str, Secret)> {
    let mut set = Vec::new();
    let region = vars.optional_name("AWS_REGION");
    set.extend(region.map(|region| ("AWS_REGION", Secret::new(region))));
    for name in [KEY_ID, SECRET_KEY, "AWS_SESSION_TOKEN"] {
        set.extend(vars.secret(name).map(|value| (name, Secret::new(value))));
    }
    for name in ROLE {
        let value = vars.set_by_platform(name);
        set.extend(value.map(|value| (name, Secret::new(value))));
    }
    for (one, other) in [(KEY_ID, SECRET_KEY), (SECRET_KEY, KEY_ID)] {
        let has = |wanted| set.iter().any(|(name, _)| *name == wanted);
        if has(one) && !has(other) {
            let problem = format!("is not set, expected a value because {one} is set");
            vars.fault(other, &problem);
        }
    }
    set
}

fn url_ttl(vars: &mut Vars<'_>, in_a_bucket: bool) -> Option<Duration> {
    const NAME: &str = "RESULT_URL_TTL";
    let ttl = vars.optional_duration(NAME)?;
    if !(Duration::from_secs(1)..=LONGEST_URL).contains(&ttl) {
        vars.fault(NAME, "is out of bounds, expected a time from 1s to 7d");
    }
    if !in_a_bucket {
        vars.fault(
            NAME,
            "is set but S3_BUCKET is not, expected both: a file on a disk has no url",
        );
    }
    Some(ttl)
}
