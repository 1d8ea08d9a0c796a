//! Reads values of a description that have a form of their own, for `#[serde(with = …)]`.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;
use serde::{Deserialize as _, Deserializer, de};

pub(super) mod header_name {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HeaderName, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| de::Error::custom(format!("{text:?} is not the name of a header")))
    }
}

pub(super) mod optional_header {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<HeaderName>, D::Error> {
        header_name::deserialize(deserializer).map(Some)
    }
}

pub(super) mod method {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Method, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "DELETE" => Ok(Method::DELETE),
            "POST" => Ok(Method::POST),
            "PUT" => Ok(Method::PUT),
            _ => Err(de::Error::custom(format!(
                "the method is {text:?}, expected DELETE, POST or PUT"
            ))),
        }
    }
}

pub(super) mod seconds {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        match (0.0..=600.0).contains(&seconds) {
            true => Ok(Duration::from_secs_f64(seconds)),
            false => Err(de::Error::custom(format!(
                "is {seconds}, expected 0 to 600 seconds"
            ))),
        }
    }
}
