//! The password in the address of a node is sent to the node and to no other place.

use std::process::Command;

use serde_json::json;
use vibecoin_tests_e2e::{Home, Liar, Node, binary};

const PASSWORD: &str = "tops3cret";
/// A hash that identifies nothing.
const HASH: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

/// Everything that a command prints, as text and as JSON.
fn printed(home: &Home, url: &str, words: &[&str], is_typed: bool) -> String {
    let mut all = String::new();
    for format in ["text", "json"] {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .args(["-o", format, "--home"])
            .arg(home.path());
        if is_typed {
            command.args(["--url", url]);
        } else {
            command.env("VIBECOIN_URL", url);
        }
        let output = command.args(words).output().unwrap();
        for stream in [output.stdout, output.stderr] {
            all.push_str(&String::from_utf8(stream).unwrap());
        }
    }
    all
}

#[test]
fn no_message_shows_the_password_of_an_address() {
    let home = Home::new();
    let url = format!("http://user:{PASSWORD}@127.0.0.1:1");
    let bare = format!("user:{PASSWORD}@127.0.0.1:1");
    let tls = format!("https://user:{PASSWORD}@127.0.0.1:1");
    let unescaped = format!("http://user:{PASSWORD}/{PASSWORD}@127.0.0.1:1");
    let no_port = format!("http://user:{PASSWORD}@127.0.0.1:many");
    let encoded = "dXNlcjp0b3BzM2NyZXQ=";
    for url in [&url, &bare, &tls, &unescaped, &no_port] {
        for words in [
            &["status"][..],
            &["-vvv", "status"],
            &["subscribe", "headers", "--count", "1"],
            &["-vvv", "subscribe", "headers", "--count", "1"],
            &["tx", "wait", HASH],
        ] {
            for is_typed in [false, true] {
                let text = printed(&home, url, words, is_typed);
                assert!(
                    text.contains("user@") || words.contains(&"subscribe"),
                    "{url} {words:?}: {text}"
                );
                assert!(!text.contains(PASSWORD), "{url} {words:?}: {text}");
                assert!(!text.contains(encoded), "{url} {words:?}: {text}");
            }
        }
    }
    for words in [&["--help"][..], &["status", "--help"]] {
        let text = printed(&home, &url, words, false);
        assert!(
            text.contains("VIBECOIN_URL") && !text.contains(PASSWORD),
            "{text}"
        );
    }
    // An address in place of another argument is quoted.
    let text = printed(&home, &url, &["status", &url], true);
    assert!(text.contains("user@127.0.0.1:1"), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

#[test]
fn a_hint_names_the_node_without_the_password() {
    let home = Home::new();
    let node = Node::dev(&home);
    let silent = Liar::start(node.address(), |method, params, node| match method {
        "tx_submit" => json!(null),
        _ => node(method, params),
    });
    let host = silent.url().trim_start_matches("http://");
    let url = format!("http://user:{PASSWORD}@{host}");
    let text = printed(&home, &url, &["transfer", "dev1", "7", "--from", "dev4"], false);
    assert!(
        text.contains(&format!("--url http://user@{host} tx status 0x")),
        "{text}"
    );
    assert!(!text.contains(PASSWORD), "{text}");
}
