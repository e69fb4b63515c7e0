//! The outermost layer: `/v1.NN` in front of a path, and the headers that every answer has.

use std::fmt;
use std::str::FromStr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::IntoResponse;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::error::ApiError;

/// The newest version of the Engine API that is spoken; answers carry it in `Api-Version`.
pub const MAX_API_VERSION: &str = "1.45";

/// The oldest one.
pub const MIN_API_VERSION: &str = "1.24";

/// Routes by the path without its version. Paths without one mean the newest version.
pub(crate) fn versioned(routes: Router) -> Router {
    let routes = TowerToHyperService::new(routes);
    Router::new().fallback(move |request: Request| {
        let routes = routes.clone();
        async move {
            let mut response = match strip(request) {
                Ok(request) => match routes.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
                Err(error) => error.into_response(),
            };
            stamp(response.headers_mut());
            response
        }
    })
}

/// The headers that every answer has.
fn stamp(headers: &mut HeaderMap) {
    headers.insert("Api-Version", HeaderValue::from_static(MAX_API_VERSION));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert("Server", HeaderValue::from_static(SERVER));
}

/// Takes the version off the path, if it can be spoken.
fn strip(mut request: Request) -> Result<Request, ApiError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some((version, rest)) = split(path) else { return Ok(request) };
    check(version)?;
    let uri = Uri::try_from(rest).map_err(|_| ApiError::not_found("page not found"))?;
    *request.uri_mut() = uri;
    Ok(request)
}

/// `/v1.41/info?x` is (1.41, `/info?x`).
fn split(path: &str) -> Option<(ApiVersion, &str)> {
    let rest = path.strip_prefix("/v")?;
    let (version, rest) = rest.split_at_checked(rest.find('/')?)?;
    Some((version.parse().ok()?, rest))
}

fn check(version: ApiVersion) -> Result<(), ApiError> {
    let bound = |text: &str| text.parse().unwrap_or(version);
    if version < bound(MIN_API_VERSION) {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    if version > bound(MAX_API_VERSION) {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {MAX_API_VERSION}"
        )));
    }
    Ok(())
}

/// Major and minor number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ApiVersion(u32, u32);

impl FromStr for ApiVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, minor) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self(major.parse()?, minor.parse()?))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

const SERVER: &str = concat!("swarm-docker/", env!("CARGO_PKG_VERSION"), " (linux)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_texts() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24") && version("1.100") > version("1.45"));
        assert!("1".parse::<ApiVersion>().is_err() && "1.x".parse::<ApiVersion>().is_err());
    }

    #[test]
    fn the_version_is_taken_off_the_path() {
        assert_eq!(split("/v1.41/info?a=b"), Some((ApiVersion(1, 41), "/info?a=b")));
        for path in ["/info", "/volumes/v1.41", "/v1.41", "/vx/info"] {
            assert_eq!(split(path), None, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_spoken_is_refused_with_dockers_words() {
        assert_eq!(check(ApiVersion(1, 24)), Ok(()));
        assert_eq!(check(ApiVersion(1, 45)), Ok(()));
        let old = check(ApiVersion(1, 23)).unwrap_err().message;
        assert!(
            old.starts_with("client version 1.23 is too old. Minimum supported API version is 1.24"),
            "{old}"
        );
        let new = check(ApiVersion(1, 46)).unwrap_err().message;
        assert_eq!(new, "client version 1.46 is too new. Maximum supported API version is 1.45");
    }
}
