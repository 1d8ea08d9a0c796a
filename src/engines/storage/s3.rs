//! The client of S3, or of a server that speaks its protocol.

use std::io;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::fault;
use crate::engines::config::S3;
use crate::engines::http;

/// Time-out of one request, including one that sends a part (8 MiB): a link of a megabyte a second is fast enough.
const REQUEST_TIME: Duration = Duration::from_secs(60);
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Retries of a request, for transient failures only. Storing an output has retries of its own for the others.
const RETRIES: usize = 3;
const RETRY_TIME: Duration = Duration::from_secs(20);

/// Makes `object_store` use the HTTP clients of [`http`], also to fetch a role's keys: no proxy of
/// the environment sees them.
#[derive(Debug)]
struct OurClients;

impl HttpConnector for OurClients {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = http::client()
            .connect_timeout(CONNECT_TIME)
            .timeout(REQUEST_TIME)
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: error.into(),
        })?;
        Ok(HttpClient::new(client))
    }
}

/// Creates the client without a call.
pub(super) fn client(settings: &S3) -> io::Result<AmazonS3> {
    let plain = settings
        .endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.scheme() == "http");
    let options = ClientOptions::new().with_allow_http(plain);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: RETRY_TIME,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_client_options(options)
        .with_http_connector(OurClients)
        .with_retry(retry)
        // Few servers other than S3 support bulk deletes.
        .with_disable_bulk_delete(true)
        .with_virtual_hosted_style_request(in_host(settings));
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    for (name, value) in &settings.aws {
        let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().map_err(fault::of_store)?;
        builder = builder.with_config(key, value.expose());
    }
    builder.build().map_err(fault::of_store)
}

/// Returns whether the bucket is part of the host name. It is not for a server other than S3, nor
/// if the bucket's name contains dots, which S3's certificate does not cover.
fn in_host(settings: &S3) -> bool {
    settings.endpoint.is_none() && !settings.bucket.contains('.')
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;
    use object_store::signer::{Method, Signer as _};

    use super::*;
    use crate::engines::config::Config;

    async fn signed(settings: &[(&str, &str)]) -> String {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let config = Config::of(&[settings, &keys].concat());
        let client = client(&config.unwrap().worker.s3.unwrap()).unwrap();
        let day = Duration::from_secs(86_400);
        let path = Path::parse("r~1/0-ab.png").unwrap();
        let url = client.signed_url(Method::GET, &path, day).await.unwrap();
        url.to_string()
    }

    #[tokio::test]
    async fn the_bucket_is_in_the_host_unless_a_server_or_a_certificate_forbids_it() {
        let hosted = signed(&[("S3_BUCKET", "media"), ("AWS_REGION", "eu-west-1")]).await;
        let dotted = signed(&[("S3_BUCKET", "a.media")]).await;
        let own = signed(&[("S3_BUCKET", "media"), ("S3_ENDPOINT", "http://h:9000/")]).await;

        for (url, start) in [
            (
                hosted,
                "https://media.s3.eu-west-1.amazonaws.com/r~1/0-ab.png?",
            ),
            (
                dotted,
                "https://s3.us-east-1.amazonaws.com/a.media/r~1/0-ab.png?",
            ),
            (own, "http://h:9000/media/r~1/0-ab.png?"),
        ] {
            assert!(url.starts_with(start), "{url}");
        }
    }

    #[test]
    fn the_variables_of_a_role_are_known_to_the_client() {
        let config = Config::load(|name| match name {
            "S3_BUCKET" => Some("media".to_owned()),
            "AWS_SESSION_TOKEN_FILE" => None,
            name if name.starts_with("AWS_") && !name.contains("KEY") => Some("x".to_owned()),
            _ => None,
        });
        let settings = config.unwrap().worker.s3.unwrap();

        assert_eq!(settings.aws.len(), 10);
        assert!(client(&settings).is_ok());
    }
}
