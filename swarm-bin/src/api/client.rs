//! One request over one connection.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::ApiError;
use crate::host::Host;

/// A client of the daemon at one address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    host: Host,
}

impl Client {
    /// A client of the daemon that listens at `host`; nothing is connected yet.
    pub(crate) const fn new(host: Host) -> Self {
        Self { host }
    }

    /// Reads something; `Null` if the answer is empty or no JSON.
    ///
    /// # Errors
    ///
    /// Every [`ApiError`].
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.ask(Method::GET, path, None).await
    }

    /// Makes or changes something.
    ///
    /// # Errors
    ///
    /// Every [`ApiError`].
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Removes something.
    ///
    /// # Errors
    ///
    /// Every [`ApiError`].
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ApiError> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    /// Opens an answer that is read piece by piece.
    ///
    /// # Errors
    ///
    /// Every [`ApiError`].
    pub(crate) async fn stream(&self, path: &str) -> Result<Incoming, ApiError> {
        let response = self.send(&Method::GET, path, None).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(self.read(&Method::GET, path, response).await.err().unwrap_or_else(|| ApiError::Malformed {
            what: format!("GET {path}"),
            host: self.host.clone(),
            why: "neither an answer nor an error".to_owned(),
        }))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let response = self.send(&method, path, body).await?;
        self.read(&method, path, response).await
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, ApiError> {
        let unreachable = |source| ApiError::Unreachable { host: self.host.clone(), source };
        let request = request(method, path, body).map_err(|error| ApiError::Malformed {
            what: format!("{method} {path}"),
            host: self.host.clone(),
            why: error.to_string(),
        })?;
        let sent = match &self.host {
            Host::Unix(socket) => {
                exchange(UnixStream::connect(socket).await.map_err(unreachable)?, request).await
            }
            Host::Tcp(address) => {
                exchange(TcpStream::connect(address).await.map_err(unreachable)?, request).await
            }
        };
        sent.map_err(|source| self.broken(method, path, source))
    }

    async fn read(
        &self,
        method: &Method,
        path: &str,
        response: Response<Incoming>,
    ) -> Result<Value, ApiError> {
        let status = response.status();
        let collected = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let bytes = match collected {
            Ok(collected) => collected.to_bytes(),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(source) => return Err(self.broken(method, path, *source)),
                Err(error) => {
                    return Err(ApiError::Malformed {
                        what: format!("{method} {path}"),
                        host: self.host.clone(),
                        why: error.to_string(),
                    });
                }
            },
        };
        let value = serde_json::from_slice::<Value>(&bytes);
        if status.is_success() {
            return Ok(value.unwrap_or_default());
        }
        let message = value.ok().and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
        let message = message.unwrap_or_else(|| format!("{method} {path}: {status}"));
        Err(ApiError::Refused { status: status.as_u16(), message })
    }

    fn broken(&self, method: &Method, path: &str, source: hyper::Error) -> ApiError {
        ApiError::Broken { what: format!("{method} {path}"), host: self.host.clone(), source }
    }
}

fn request(
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "swarm-bin")
        .header("user-agent", concat!("swarm-bin/", env!("CARGO_PKG_VERSION")));
    match body {
        Some(body) => {
            let bytes = Bytes::from(body.to_string());
            request.header("content-type", "application/json").body(Full::new(bytes))
        }
        None => request.body(Full::default()),
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection); // ends with the answer's body
    sender.send_request(request).await
}

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
