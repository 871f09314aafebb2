use super::*;

#[test]
fn a_switch_is_spelled_as_go_spells_booleans_or_on_and_off() {
    for text in ["1", "t", "T", "true", "TRUE", "True", "on", "ON", "On"] {
        assert_eq!(switch(text), Ok(true), "{text}");
    }
    for text in ["0", "f", "F", "false", "FALSE", "False", "off", "OFF", "Off"] {
        assert_eq!(switch(text), Ok(false), "{text}");
    }
    for text in ["", " ", "yes", "2", "enabled", "on off"] {
        assert_eq!(switch(text), Err(NotASwitch), "{text}");
    }
}

#[test]
fn an_address_with_one_meaning_is_taken() {
    for (text, taken) in [
        ("127.0.0.1:8081", "127.0.0.1:8081"),
        ("[::1]:0", "[::1]:0"),
        ("localhost:8081", "127.0.0.1:8081"),
        ("LocalHost:8081", "127.0.0.1:8081"),
        (" 0.0.0.0:8081\n", "0.0.0.0:8081"),
    ] {
        assert_eq!(address(text), Ok(taken.parse().unwrap()), "{text:?}");
    }
}

#[test]
fn an_address_with_more_than_one_is_refused_and_the_forms_are_named() {
    let port = "the address is missing: write 127.0.0.1:8081 for this machine alone, 0.0.0.0:8081 for all of IPv4, \
                or [::]:8081 for IPv6 as well";
    for (text, said) in [
        (":8081", port),
        ("8081", port),
        ("*:8081", port),
        ("0.0.0.0", "the port is missing: write 0.0.0.0:8081, for example"),
        ("::1", "the port is missing: write an IPv6 address as [::1]:8081"),
        ("::1:8081", "the port is missing: write an IPv6 address as [::1]:8081"),
        ("[::1]", "the port is missing: write an IPv6 address as [::1]:8081"),
        ("http://127.0.0.1:8081", "write the address without http://"),
        ("127.0.0.1:65536", "a port is a number up to 65535"),
        ("80811", "a port is a number up to 65535"),
        (
            "tollgate:8081",
            "host names are not looked up, except localhost: write an IP address, such as 10.0.0.7:8081",
        ),
        ("localhost", "write an IP address and a port, such as 127.0.0.1:8081 or [::1]:8081"),
        ("localhost:", "write an IP address and a port, such as 127.0.0.1:8081 or [::1]:8081"),
        ("", "write an IP address and a port, such as 127.0.0.1:8081 or [::1]:8081"),
    ] {
        assert_eq!(address(text).unwrap_err().to_string(), said, "{text:?}");
    }
}
