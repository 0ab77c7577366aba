//! HTTP headers over real sockets, on every kind of address.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::hostile::sent;
use super::{Answer, serve};
use crate::mock::MockBackend;
use crate::{Config, RpcServer};

const HEAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"chain_getHead"}"#;

#[tokio::test]
async fn headers_are_read_by_their_meaning() {
    let served = serve().await;
    let post = |headers: &str| {
        format!(
            "POST / HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{HEAD}",
            HEAD.len()
        )
    };
    let json = "content-type: application/json\r\n";
    for (headers, status) in [
        (format!("host: localhost\r\n{json}"), 200),
        (format!("host: localhost.\r\n{json}"), 200),
        (format!("host: LOCALHOST.:9\r\n{json}"), 200),
        (format!("host: {}\r\n{json}", served.server.address()), 200),
        (
            "host: localhost\r\ncontent-type: application/json ; charset=utf-8\r\n".to_owned(),
            200,
        ),
        (
            "host: localhost\r\ncontent-type: Application/JSON;charset=\"UTF-8\"\r\n".to_owned(),
            200,
        ),
        (
            format!("host: localhost\r\n{json}content-encoding: identity\r\n"),
            200,
        ),
        (
            format!("host: localhost\r\n{json}content-encoding: gzip\r\n"),
            415,
        ),
        ("host: localhost\r\ncontent-type: text/plain\r\n".to_owned(), 415),
        ("host: localhost\r\n".to_owned(), 415),
        (format!("host: localhost..\r\n{json}"), 403),
        (
            format!("host: localhost\r\norigin: http://LOCALHOST:80\r\n{json}"),
            200,
        ),
        (
            format!("host: localhost\r\norigin: http://localhost:81\r\n{json}"),
            403,
        ),
    ] {
        let answer = served.raw(post(&headers).as_bytes()).await;
        assert_eq!(answer.status, status, "{headers}{}", answer.body);
    }
    for (method, path, allow) in [
        ("GET", "/", "allow: post, get, options"),
        ("DELETE", "/", "allow: post, get, options"),
        ("POST", "/livez", "allow: get, head"),
        ("PUT", "/readyz", "allow: get, head"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = served.raw(request.as_bytes()).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.head.contains(allow), "{method} {path}: {}", answer.head);
    }
    let options = b"OPTIONS / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = served.raw(options).await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    let notification = served.post(r#"{"jsonrpc":"2.0","method":"chain_getHead"}"#).await;
    assert_eq!((notification.status, notification.body.as_str()), (200, ""));
}

/// Every listener is answered under the address at which it was reached, IPv6 and "all" included.
#[tokio::test]
async fn a_listener_answers_under_every_address_at_which_it_is_reached() {
    let v6 = TcpListener::bind("[::1]:0").await;
    assert!(v6.is_ok(), "this test needs IPv6 on loopback: {v6:?}");
    for bound in ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.2:0", "[::1]:0", "[::]:0"] {
        let listener = TcpListener::bind(bound).await.unwrap();
        let config = Config {
            hosts: vec!["node.example".to_owned()],
            ..Config::default()
        };
        let node = Arc::new(MockBackend::new());
        let server = RpcServer::start(listener, node, config).unwrap();
        let endpoint = server.endpoint();
        let request = format!("GET /livez HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
        let stream = sent(endpoint, request.as_bytes()).await;
        assert_eq!(Answer::read(stream).await.status, 200, "{bound} at {endpoint}");
        let foreign = "GET /livez HTTP/1.1\r\nhost: 0.0.0.0\r\nconnection: close\r\n\r\n";
        let stream = sent(endpoint, foreign.as_bytes()).await;
        assert_eq!(Answer::read(stream).await.status, 403, "{bound}");
    }
}
