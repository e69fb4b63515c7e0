//! Query parameters and bodies, read as Docker reads them.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::filters::Filters;

/// The query parameters; of one that is given twice the last counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// The parameter; empty if it is absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether a switch is on. As Docker: anything but "", 0, no, false and none.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let text = self.text(name).trim().to_ascii_lowercase();
        !matches!(text.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The version that an update was based on.
    pub(crate) fn version(&self, kind: &str) -> Result<u64, ApiError> {
        let text = self.text("version");
        text.parse().map_err(|_| ApiError::bad_request(format!("invalid {kind} version '{text}'")))
    }

    /// The filters, which may have only these keys.
    pub(crate) fn filters(&self, known: &[&str]) -> Result<Filters, ApiError> {
        Filters::parse(self.text("filters"), known)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = pairs.map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = axum::body::to_bytes(body, BODY_LIMIT)
            .await
            .map_err(|_| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large"))?;
        if bytes.is_empty() {
            return Err(ApiError::bad_request("invalid JSON: got EOF while reading request body"));
        }
        let kind =
            parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            let text = format!("unsupported Content-Type header ({kind}): must be 'application/json'");
            return Err(ApiError::bad_request(text));
        }
        let value = serde_json::from_slice(&bytes);
        value.map(Self).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
    }
}

/// More than any specification, with a config of 1000 KiB in base 64 in it.
pub(crate) const BODY_LIMIT: usize = 4 << 20;
