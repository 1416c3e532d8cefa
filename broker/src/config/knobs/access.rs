//! Who may connect: the first user, and tokens.

use std::time::Duration;

use super::{DAY, Knob};
use crate::config::Secret;
use crate::config::show;

pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "auth.user",
        env: "WARREN_AUTH_USER",
        flag: None,
        expects: "a text of 1 to 255 bytes",
        about: &[
            "Name of the user that a new data folder begins with: an administrator with all permissions. Once",
            "there are users in the data folder this has no effect. guest is what client libraries send when",
            "told nothing.",
        ],
        set: |config, input| input.short_text().map(|user| config.auth.user = user),
        show: |config| show::text(&config.auth.user),
        secret: false,
    },
    Knob {
        key: "auth.password",
        env: "WARREN_AUTH_PASSWORD",
        flag: None,
        expects: "a text of 1 to 255 bytes",
        about: &[
            "Its password. There is no flag for it: the command lines of processes are public. The data folder",
            "keeps a hash.",
        ],
        set: |config, input| input.short_text().map(|password| config.auth.password = Secret(password)),
        show: |config| show::text(&config.auth.password.0),
        secret: true,
    },
    Knob {
        key: "auth.loopback_only",
        env: "WARREN_AUTH_LOOPBACK_ONLY",
        flag: None,
        expects: "names of users, such as [\"a\", \"b\"] or a,b, or false for none",
        about: &[
            "Users who may log in only from this machine. guest, because everybody knows its password. Set it to",
            "false in a container, together with a password of your own. true means guest.",
        ],
        set: |config, input| input.names().map(|names| config.auth.loopback_only = names),
        show: |config| show::texts(&config.auth.loopback_only),
        secret: false,
    },
    Knob {
        key: "auth.failure_delay",
        env: "WARREN_AUTH_FAILURE_DELAY",
        flag: None,
        expects: "a time with its unit, such as 500ms or 1s, at most 1min",
        about: &[
            "Pause before a refused login is answered. Slows guessing down and keeps a program that retries at",
            "once from doing it thousands of times a second.",
        ],
        set: |config, input| {
            let range = Duration::ZERO..=Duration::from_secs(60);
            input.duration(range).map(|delay| config.auth.failure_delay = delay)
        },
        show: |config| show::duration(config.auth.failure_delay),
        secret: false,
    },
    Knob {
        key: "auth.failures_per_minute_max",
        env: "WARREN_AUTH_FAILURES_PER_MINUTE_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000",
        about: &[
            "Refused logins of one address (IPv6: of one /64 network) within a minute, after which all others are",
            "refused, too, except of users who have logged in since the broker was started. Against guessing",
            "over many connections at once.",
        ],
        set: |config, input| {
            input.integer(1..=1_000_000_u32).map(|failures| config.auth.failures_per_minute_max = failures)
        },
        show: |config| config.auth.failures_per_minute_max.to_string(),
        secret: false,
    },
    Knob {
        key: "oauth.resource_server_id",
        env: "WARREN_OAUTH_RESOURCE_SERVER_ID",
        flag: None,
        expects: "a text of at most 255 bytes, empty for no tokens",
        about: &[
            "Name of this broker in tokens (JWT), which clients may send as a password once it is set. A token",
            "must have it in its audience (aud), have an end (exp), and be signed with a key of oauth.keys. What",
            "its user may do is in its scopes, as for RabbitMQ: read:vhost/name, write, configure, and",
            "tag:administrator.",
        ],
        set: |config, input| input.optional_text().map(|value| config.oauth.resource_server_id = value),
        show: |config| show::text(&config.oauth.resource_server_id),
        secret: false,
    },
    Knob {
        key: "oauth.keys",
        env: "WARREN_OAUTH_KEYS",
        flag: None,
        expects: "the path of a file, or an empty text for none",
        about: &[
            "File with the keys that tokens are signed with, as a JWK set. Read at the start and on SIGHUP.",
        ],
        set: |config, input| input.folder().map(|value| config.oauth.keys = value),
        show: |config| show::folder(config.oauth.keys.as_deref()),
        secret: false,
    },
    Knob {
        key: "oauth.keys_url",
        env: "WARREN_OAUTH_KEYS_URL",
        flag: None,
        expects: "a URL with https, or http to this machine, or an empty text for none",
        about: &[
            "Where to fetch further keys from, as a JWK set: what providers of tokens call jwks_uri. Only keys of",
            "RS256 and ES256 count. The last ones that were fetched stay in use while nobody answers there.",
        ],
        set: |config, input| input.optional_text().map(|value| config.oauth.keys_url = value),
        show: |config| show::text(&config.oauth.keys_url),
        secret: false,
    },
    Knob {
        key: "oauth.keys_ca",
        env: "WARREN_OAUTH_KEYS_CA",
        flag: None,
        expects: "the path of a file, or an empty text for none",
        about: &[
            "Certificates in PEM of authorities, one of which vouches for oauth.keys_url, instead of the system's.",
        ],
        set: |config, input| input.folder().map(|value| config.oauth.keys_ca = value),
        show: |config| show::folder(config.oauth.keys_ca.as_deref()),
        secret: false,
    },
    Knob {
        key: "oauth.keys_refresh",
        env: "WARREN_OAUTH_KEYS_REFRESH",
        flag: None,
        expects: "a time with its unit from 1s to 24h",
        about: &[
            "How often the keys are fetched again. A token that none of them has signed has them fetched sooner,",
            "but not within half a minute.",
        ],
        set: |config, input| {
            let range = Duration::from_secs(1)..=DAY;
            input.duration(range).map(|refresh| config.oauth.keys_refresh = refresh)
        },
        show: |config| show::duration(config.oauth.keys_refresh),
        secret: false,
    },
    Knob {
        key: "oauth.algorithms",
        env: "WARREN_OAUTH_ALGORITHMS",
        flag: None,
        expects: "one or more of RS256, ES256 and HS256, such as [\"RS256\"] in a file or RS256,ES256 elsewhere",
        about: &[
            "How tokens may be signed. Not HS256 unless asked for: whoever has its key can make tokens, too. Tokens",
            "that are not signed are never accepted.",
        ],
        set: |config, input| input.token_algorithms().map(|value| config.oauth.algorithms = value),
        show: |config| show::token_algorithms(&config.oauth.algorithms),
        secret: false,
    },
    Knob {
        key: "oauth.issuer",
        env: "WARREN_OAUTH_ISSUER",
        flag: None,
        expects: "a text of at most 255 bytes, empty for any issuer",
        about: &["Who must have issued the tokens (iss)."],
        set: |config, input| input.optional_text().map(|value| config.oauth.issuer = value),
        show: |config| show::text(&config.oauth.issuer),
        secret: false,
    },
    Knob {
        key: "oauth.scope_prefix",
        env: "WARREN_OAUTH_SCOPE_PREFIX",
        flag: None,
        expects: "a text of at most 255 bytes, empty for the resource server's id and a dot",
        about: &["What the scopes that are meant for this broker begin with; all others are passed over."],
        set: |config, input| input.optional_text().map(|value| config.oauth.scope_prefix = value),
        show: |config| show::text(&config.oauth.scope_prefix),
        secret: false,
    },
    Knob {
        key: "oauth.additional_scopes",
        env: "WARREN_OAUTH_ADDITIONAL_SCOPES",
        flag: None,
        expects: "names separated by dots, such as realm_access.roles, or an empty text for none",
        about: &["A claim with scopes besides scope, as some authorization servers have it."],
        set: |config, input| input.optional_text().map(|value| config.oauth.additional_scopes = value),
        show: |config| show::text(&config.oauth.additional_scopes),
        secret: false,
    },
    Knob {
        key: "oauth.username_claims",
        env: "WARREN_OAUTH_USERNAME_CLAIMS",
        flag: None,
        expects: "one or more names of claims, such as [\"sub\", \"client_id\"] in a file or sub,client_id elsewhere",
        about: &["The claims that may name the user; the first that is there counts."],
        set: |config, input| input.words().map(|value| config.oauth.username_claims = value),
        show: |config| show::texts(&config.oauth.username_claims),
        secret: false,
    },
];
