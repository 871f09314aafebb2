use super::*;

#[test]
fn every_refusal_has_a_label_of_its_own_and_is_found_by_its_code() {
    for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(Refusal::from_error(refusal.code(), ""), refusal);
        assert_eq!(refusal as usize, at, "counters go by the place in ALL");
    }
    assert_eq!(Refusal::from_error("WRONGTYPE", "Operation against a key"), Refusal::Other);
}

#[test]
fn the_code_is_found_in_the_words_of_every_version() {
    for (text, refusal) in [
        // 6.2, from a script and from within it.
        (
            "ERR Error running script (call to f_1f): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            Refusal::Oom,
        ),
        ("@user_script: 4: -READONLY You can't write against a read only replica.", Refusal::ReadOnly),
        (
            "@user_script: 4: The user executing the script can't run this command or subcommand",
            Refusal::NoPerm,
        ),
        ("@user_script: 4: Unknown Redis command called from Lua script", Refusal::UnknownCommand),
        // 7.0
        (
            "ERR The user executing the script can't run this command or subcommand script: 1f, on @user_script:35.",
            Refusal::NoPerm,
        ),
        (
            "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
            Refusal::NoPerm,
        ),
        (
            "OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:1.",
            Refusal::Oom,
        ),
        ("ERR unknown command 'EVALSHA', with args beginning with: '00' '0' ", Refusal::UnknownCommand),
        // 8.2 and Valkey 9.1
        ("ERR ACL failure in script: User t has no permissions to run the 'set' command", Refusal::NoPerm),
        ("ERR Unknown command called from script script: on @user_script:1.", Refusal::UnknownCommand),
        ("-NOREPLICAS Not enough good replicas to write.", Refusal::NoReplicas),
        ("CROSSSLOT Keys in request don't hash to the same slot", Refusal::CrossSlot),
        ("ERR syntax error", Refusal::Err),
        ("ERR no such thing as -NOSCRIPT here", Refusal::Err),
        ("", Refusal::Err),
    ] {
        assert_eq!(Complaint::of_text(text).refusal, refusal, "{text}");
    }
}

#[test]
fn a_missing_right_is_named_as_an_acl_rule() {
    for (text, help) in [
        (
            "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
            "add +evalsha ",
        ),
        ("NOPERM User t has no permissions to run the 'script|load' command", "add +script|load "),
        (
            "ERR ACL failure in script: User t has no permissions to run the 'setrange' command",
            "add +setrange ",
        ),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", "add ~tg:* "),
        ("NOPERM No permissions to access a key", "add ~tg:* "),
        ("ERR The user executing the script can't run this command or subcommand", "docs/redis.md"),
        ("NOPERM User t has no permissions to run the 'S3CRET, odd' command", "docs/redis.md"),
    ] {
        let complaint = Complaint::of_text(text);
        assert_eq!(complaint.refusal, Refusal::NoPerm);
        assert!(complaint.help().contains(help), "{text}: {complaint}");
        assert!(!complaint.to_string().contains("S3CRET"), "{complaint}");
    }
}
