//! A proxy in front of a node that falsifies answers.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::{call, http};

/// Calls the node behind the proxy: method and parameters in, the whole answer out, `result` or
/// `error`.
pub type Honest<'a> = &'a dyn Fn(&str, Value) -> Value;

/// A server with scripted answers, in front of a node: `null` is no answer at all. It listens until the test
/// process ends.
pub struct Liar {
    url: String,
}

impl Liar {
    /// Starts one on loopback. `answer` receives method, parameters and the node, and returns the whole
    /// answer.
    pub fn start(node: &str, answer: impl Fn(&str, Value, Honest<'_>) -> Value + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let node = node.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One request per connection; a disconnect of the client is ignored.
                let _gone = serve(stream, |method, params| {
                    let honest = |method: &str, params: Value| {
                        call(&node, method, params).unwrap_or_else(
                            |error| json!({ "error": { "code": -32603, "message": error.to_string() } }),
                        )
                    };
                    answer(method, params, &honest)
                });
            }
        });
        Self { url }
    }

    /// The URL of the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn serve(stream: TcpStream, answer: impl Fn(&str, Value) -> Value) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let length = http::body_length(&mut reader)?.unwrap_or(0);
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    let request: Value = serde_json::from_slice(&body)?;
    let method = request["method"].as_str().unwrap_or_default();
    let mut response = answer(method, request["params"].clone());
    if response.is_null() {
        return Ok(());
    }
    response["jsonrpc"] = json!("2.0");
    response["id"] = request["id"].clone();
    let body = response.to_string();
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
