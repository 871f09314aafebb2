use std::{net::TcpListener, thread};

use super::*;

/// Listens on a free port, and gives its one client that answer.
fn answering(answer: &'static str) -> Healthcheck {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = BufReader::new(client.try_clone().unwrap()).lines();
        assert_eq!(request.next().unwrap().unwrap(), "GET /healthcheck HTTP/1.1");
        // Reading to the blank line first: closing earlier would reset the connection, and with it the answer.
        while !request.next().unwrap().unwrap().is_empty() {}
        client.write_all(answer.as_bytes()).unwrap();
    });
    Healthcheck { admin }
}

#[test]
fn a_200_is_healthy() {
    answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK").run().unwrap();
}

#[test]
fn any_other_answer_is_unhealthy_and_shown() {
    for (answer, shown) in [
        ("HTTP/1.1 500 Internal Server Error\r\n\r\ndraining", "HTTP/1.1 500 Internal Server Error"),
        ("HTTP/1.1 404 Not Found\r\n\r\n200", "HTTP/1.1 404 Not Found"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2"),
        ("", ""),
    ] {
        let error = answering(answer).run().unwrap_err();
        assert!(
            matches!(&error, HealthcheckError::Refused { status_line, .. } if status_line == shown),
            "{error}"
        );
    }
}

#[test]
fn a_port_where_nothing_listens_is_unhealthy() {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Healthcheck { admin }.run().unwrap_err();
    assert!(matches!(error, HealthcheckError::Connect { .. }), "{error}");
}

#[test]
fn silence_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = silent.local_addr().unwrap();
    let connection = TcpStream::connect(admin).unwrap();
    let error = status_line(connection, admin, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
}

#[test]
fn an_address_that_means_every_interface_is_asked_on_loopback() {
    for (listen, asked) in [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("10.0.0.7:80", "10.0.0.7:80"),
        ("[::1]:9", "[::1]:9"),
    ] {
        assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap(), "{listen}");
    }
}
