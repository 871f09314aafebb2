use redis::ProtocolVersion;

use super::*;

/// Where a URL leads, in the form `user:password@host:port/database`.
fn read(text: &str) -> Result<String, AddressError> {
    let target = RedisTarget::parse(text)?;
    let login = &target.access.login;
    let (user, password) = (login.username().unwrap_or("-"), login.password().unwrap_or("-"));
    Ok(format!("{user}:{password}@{}/{}", target.to_string().replace("redis://", ""), login.db()))
}

#[track_caller]
fn is(text: &str, expected: &str) {
    assert_eq!(read(text).unwrap(), expected, "{text}");
}

#[track_caller]
fn is_refused(text: &str, expected: AddressError) {
    assert_eq!(read(text).unwrap_err(), expected, "{text}");
}

#[test]
fn every_part_of_a_url_is_used() {
    is("redis://cache", "-:-@cache:6379/0");
    is("redis://127.0.0.1:7000/3", "-:-@127.0.0.1:7000/3");
    is("REDIS://my_cache.internal:/", "-:-@my_cache.internal:6379/0");
    is("valkey://cache", "-:-@cache:6379/0");
    is("redis://[::1]/15", "-:-@[::1]:6379/15");
    is("redis://[fd00:0:0:0:0:0:0:7]:7000", "-:-@[fd00::7]:7000/0");
    is("redis://tollgate:s3cret@cache", "tollgate:s3cret@cache:6379/0");
    is("redis://tollgate@cache", "tollgate:-@cache:6379/0");
    is("redis://:s3cret@cache", "-:s3cret@cache:6379/0");
    is("redis://:@cache", "-:-@cache:6379/0");
    for (protocol, version) in [("2", ProtocolVersion::RESP2), ("resp3", ProtocolVersion::RESP3)] {
        let target = RedisTarget::parse(&format!("redis://cache/1?protocol={protocol}")).unwrap();
        assert_eq!(target.access.login.protocol(), version);
    }
}

#[test]
fn a_scheme_says_how_redis_is_reached() {
    for (text, shown) in [
        ("rediss://cache", "rediss://cache:6379"),
        ("valkeys://user:s3cret@[::1]:7000/2", "rediss://[::1]:7000"),
        ("valkey://cache", "redis://cache:6379"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis+socket:///run/redis.sock?db=3", "unix:///run/redis.sock"),
        ("UNIX://user:s3cret@/run/my%20redis.sock?db=3&protocol=3", "unix:///run/my redis.sock"),
    ] {
        let target = RedisTarget::parse(text).unwrap();
        assert_eq!(target.to_string(), shown);
        assert_eq!(target.uses_tls(), shown.starts_with("rediss"), "{text}");
        assert!(!format!("{target:?}").contains("s3cret"), "{target:?}");
    }
    let target = RedisTarget::parse("unix://tollgate:s3cret@/run/redis.sock?db=3").unwrap();
    assert_eq!(
        (target.access.login.username(), target.access.login.password()),
        (Some("tollgate"), Some("s3cret"))
    );
    assert_eq!(target.access.login.db(), 3);
    is_refused("unix://run/redis.sock", AddressError::SocketWithHost);
    is_refused("unix://", AddressError::NoSocket);
    is_refused("unix:///?db=3", AddressError::NoSocket);
    is_refused("unix:///run/redis.sock?db=x", AddressError::Database);
    is_refused("unix:///run/redis.sock?ssl=1", AddressError::Tls("ssl".to_owned()));
}

#[test]
fn sentinels_are_a_list_with_the_name_of_a_master() {
    for (text, shown) in [
        ("redis+sentinel://a,b:7000,[::1]/main", "redis+sentinel://a:26379,b:7000,[::1]:26379/main"),
        ("valkeys+sentinel://u:s3cret@a/main/3?protocol=3", "rediss+sentinel://a:26379/main"),
        (
            "redis-sentinel://a/my%20master?sentinel_user=w&sentinel_password=s3%63ret",
            "redis+sentinel://a:26379/my master",
        ),
    ] {
        let target = RedisTarget::parse(text).unwrap();
        assert_eq!(target.to_string(), shown);
        assert!(!format!("{target:?}").contains("s3cret"), "{target:?}");
    }
    let target =
        RedisTarget::parse("redis+sentinel://u:p@a/main/3?sentinel_user=w&sentinel_password=q").unwrap();
    let Topology::Sentinels(sentinels) = target.topology() else { panic!("{target}") };
    assert_eq!((sentinels.login.username(), sentinels.login.password()), (Some("w"), Some("q")));
    assert_eq!((target.access.login.username(), target.access.login.db()), (Some("u"), 3));
    is_refused("redis+sentinel://a,b", AddressError::NoMaster);
    is_refused("redis+sentinel://a,b/?protocol=3", AddressError::NoMaster);
    is_refused("redis+sentinel:///main", AddressError::NoHost);
    is_refused("redis+sentinel://a/main/x", AddressError::Database);
    is_refused("redis://a?sentinel_password=q", AddressError::Query);
}

#[test]
fn user_and_password_are_percent_decoded() {
    is("redis://a%40b:p%40ss%2Fw%3Ard%23%3F%25@cache", "a@b:p@ss/w:rd#?%@cache:6379/0");
    // Whatever has one meaning only is taken as it stands.
    is("redis://:p@ss:word@cache", "-:p@ss:word@cache:6379/0");
    is("redis://:100%@cache", "-:100%@cache:6379/0");
    is("redis://:%zz%4@cache", "-:%zz%4@cache:6379/0");
    is_refused("redis://:%ff@cache", AddressError::NoText);
}

#[test]
fn a_password_that_ends_the_host_too_early_has_to_be_percent_encoded() {
    for password in ["a/b", "a?b", "a#b", "12/34", "12?34", "1#2", "/", "p@ss/w:rd#?%", "a/b@c"] {
        for user in ["", "tollgate", "10.0.0.7"] {
            is_refused(&format!("redis://{user}:{password}@cache:6379/0"), AddressError::RawPassword);
        }
    }
}

#[test]
fn what_would_be_dropped_is_refused() {
    is_refused("redis://cache?ssl=true", AddressError::Tls("ssl".to_owned()));
    is_refused("redis://cache/0?protocol=resp3&TLS=1", AddressError::Tls("tls".to_owned()));
    is_refused("redis://cache?db=2", AddressError::DatabaseInQuery("db".to_owned()));
    is_refused("redis://cache?password=s3cret", AddressError::LoginInQuery("password".to_owned()));
    for query in ["foo=bar", "s3cret", "protocol=resp4", "protocol", "timeout=1", "=", "protocol=2&x=1"] {
        is_refused(&format!("redis://cache?{query}"), AddressError::Query);
    }
    for text in ["redis://cache#insecure", "redis://cache/0#", "redis://cache?protocol=2#x"] {
        is_refused(text, AddressError::Fragment);
    }
    for path in ["/x", "//3", "/3/", "/-1", "/+1", "/1.5", "/ 1", "/0/1", "/4294967296", "/%31"] {
        is_refused(&format!("redis://cache{path}"), AddressError::Database);
    }
}

#[test]
fn an_address_that_leads_nowhere_is_refused() {
    for text in ["redis://", "redis:///0", "redis://:6379", "redis://user:s3cret@", "redis://@:6379/0"] {
        is_refused(text, AddressError::NoHost);
    }
    for port in ["0", "65536", "redis", "-1", "+1", " 1", "6379 "] {
        is_refused(&format!("redis://cache:{port}"), AddressError::Port);
    }
    for host in ["ca che", "cache!", "caché", "[cache]", "[::1", "[]", "[::1%25eth0]", "%63ache"] {
        let refused = read(&format!("redis://{host}")).unwrap_err();
        assert!(matches!(refused, AddressError::Host | AddressError::NoBrackets), "{host}: {refused}");
    }
    is_refused("redis://::1:6379", AddressError::NoBrackets);
    is_refused("redis://0.0.0.0:6379", AddressError::Wildcard);
    is_refused("redis://[::]", AddressError::Wildcard);
    for list in ["redis://a,b", "redis://:s3cret@a:1,b:2/0", "redis://a:1,redis://b:2", "a:6379,b:6379"] {
        is_refused(list, AddressError::Several);
    }
}

#[test]
fn an_address_without_its_scheme_is_named_with_it() {
    let meant = |url: &str| AddressError::Meant(url.to_owned());
    is_refused("redis:6379", meant("redis://redis:6379"));
    is_refused("10.0.0.7:6379/2", meant("redis://10.0.0.7:6379/2"));
    is_refused("[::1]:6379", meant("redis://[::1]:6379"));
    is_refused("redis:/cache:7000", meant("redis://cache:7000"));
    is_refused("redis:cache", meant("redis://cache"));
    for text in
        ["", "cache", "Memory", "http://cache:6379", "radish://user:s3cret@cache", "s3cret@cache:6379"]
    {
        is_refused(text, AddressError::NoRedis);
    }
    is_refused("/run/redis.sock", meant("unix:///run/redis.sock"));
    for text in ["unix:/run/redis.sock", "UNIX:run/redis.sock"] {
        is_refused(text, AddressError::NoRedis);
    }
}

#[test]
fn a_cluster_is_some_of_its_nodes_and_has_no_database() {
    for (text, shown) in [
        ("redis+cluster://a,b:7000", "redis+cluster://a:6379,b:7000"),
        ("REDIS-cluster://a/", "redis+cluster://a:6379"),
        ("valkeys+cluster://:s3cret@[::1]:7000,b/0?protocol=resp3", "rediss+cluster://[::1]:7000,b:6379"),
    ] {
        let target = RedisTarget::parse(text).unwrap();
        assert_eq!(target.to_string(), shown);
        assert_eq!(target.uses_tls(), shown.starts_with("rediss"));
    }
    for text in ["redis+cluster://a/1", "redis+cluster://a,b/mymaster"] {
        is_refused(text, AddressError::ClusterDatabase);
    }
    is_refused("rediss+cluster://", AddressError::NoHost);
    is_refused("redis+cluster:a", AddressError::NoRedis);
}

#[test]
fn no_error_repeats_a_secret() {
    let forms = [
        "redis://:s3cret/x@host",
        "redis://:s3cret?x#y@host",
        "redis://host?password=s3cret",
        "redis://host?s3cret",
        "redis://host#s3cret",
        "redis://host/s3cret",
        "redis://host:s3cret",
        "redis://s3cret!",
        "redis:/:s3cret@host",
        "rediss://:s3cret/x@host",
        "rediss://host?sslmode=s3cret",
        "redis-sentinel://:s3cret@host",
        "unix://s3cret/run/redis.sock",
        "unix:///run/redis.sock?pass=s3cret",
        "unix:///run/redis.sock#s3cret",
        "http://:s3cret@host",
        "s3cret@host:6379",
        "user:s3cret",
        ":s3cret",
        "s3cret",
    ];
    for text in forms {
        let error = read(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{text}: {error}");
    }
}
