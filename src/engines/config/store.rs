//! Settings of the results bucket: S3, or a server that speaks its protocol.

use std::time::Duration;

use url::Url;

use super::vars::{Vars, has_login};
use crate::domain::Secret;

/// A bucket, and how to reach it.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Server to use instead of that of the region; the bucket is then part of the path.
    pub endpoint: Option<Url>,
    /// The region that requests are signed for.
    pub region: String,
    /// Static access keys; `None`: those of the role that the platform gives.
    pub keys: Option<Keys>,
    /// Variables that the platform has set for a role, each a name and its value.
    pub role: Vec<(&'static str, String)>,
    /// How long the signed `url` of an output is valid; `None`: outputs have no `url`.
    pub url_ttl: Option<Duration>,
}

/// Static access keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Access key id.
    pub id: String,
    /// Secret access key, which signs requests.
    pub secret: Secret,
    /// Session token of temporary keys.
    pub token: Option<Secret>,
}

/// A signature of S3 is valid for a week at most.
const LONGEST_URL: Duration = Duration::from_secs(7 * 86_400);

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

pub(super) fn read(vars: &mut Vars<'_>) -> Option<S3> {
    let bucket = bucket(vars);
    let s3 = S3 {
        bucket: bucket.clone().unwrap_or_default(),
        prefix: prefix(vars),
        endpoint: endpoint(vars),
        region: region(vars),
        keys: keys(vars),
        role: role(vars),
        url_ttl: url_ttl(vars, bucket.is_some()),
    };
    bucket.map(|_| s3)
}

fn bucket(vars: &mut Vars<'_>) -> Option<String> {
    const NAME: &str = "S3_BUCKET";
    let bucket = vars.optional(NAME)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(3..=255).contains(&bucket.len()) || !bucket.chars().all(good) {
        let want = "expected only the name of a bucket: 3 or more letters, digits, '.', '_' or '-'";
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
        let want = "expected names separated by '/', each of letters, digits, '.', '_', '-' or '='";
        vars.fault(NAME, &format!("is {text:?}, {want}"));
    }
    prefix.to_owned()
}

fn endpoint(vars: &mut Vars<'_>) -> Option<Url> {
    const NAME: &str = "S3_ENDPOINT";
    let text = vars.optional(NAME)?;
    let url = Url::parse(&text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        // A signed request has no place for a login or a query.
        .filter(|url| !has_login(url) && url.query().is_none());
    if url.is_none() {
        vars.fault(
            NAME,
            "is invalid, expected an http or https URL without user and query, such as https://minio.example.com",
        );
    }
    url
}

fn region(vars: &mut Vars<'_>) -> String {
    let platforms = vars.string("AWS_REGION", "us-east-1");
    vars.name("S3_REGION", &platforms)
}

fn keys(vars: &mut Vars<'_>) -> Option<Keys> {
    const ID: &str = "AWS_ACCESS_KEY_ID";
    const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
    let (id, secret) = (vars.optional(ID), vars.optional(SECRET));
    let token = vars.optional("AWS_SESSION_TOKEN").map(Secret::new);
    match (id, secret) {
        (Some(id), Some(secret)) => Some(Keys {
            id,
            secret: Secret::new(secret),
            token,
        }),
        (Some(_), None) => {
            vars.fault(
                SECRET,
                &format!("is not set, expected a value because {ID} is set"),
            );
            None
        }
        (None, Some(_)) => {
            vars.fault(
                ID,
                &format!("is not set, expected a value because {SECRET} is set"),
            );
            None
        }
        (None, None) => None,
    }
}

fn role(vars: &mut Vars<'_>) -> Vec<(&'static str, String)> {
    let mut role = Vec::new();
    for name in ROLE {
        if let Some(value) = vars.optional(name) {
            role.push((name, value));
        }
    }
    role
}

fn url_ttl(vars: &mut Vars<'_>, in_a_bucket: bool) -> Option<Duration> {
    const NAME: &str = "RESULT_URL_TTL";
    let ttl = vars.optional_duration(NAME)?;
    if ttl > LONGEST_URL {
        vars.fault(
            NAME,
            "is above 7d, expected at most 7d: S3 signs for no longer",
        );
    }
    if ttl < Duration::from_secs(1) {
        vars.fault(NAME, "is below 1s, expected at least 1s");
    }
    if !in_a_bucket {
        vars.fault(
            NAME,
            "is set but S3_BUCKET is not, expected both: a file on a disk has no url",
        );
    }
    Some(ttl)
}
