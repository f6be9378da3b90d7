//! Secrets: credentials, tokens and keys of services, private keys, cookies, passwords of data sources.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::Rng;
use rand::rngs::StdRng;

use super::{ALNUM, BASE64, DIGITS, Form, HEX, LOWER, Planted, UPPER, bare, form, password, pick, random, within};

pub(super) const FORMS: &[Form] = &[
    form("jwt", "signed", |rng| {
        let header = pick(rng, &[r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"alg":"ES256"}"#, r#"{ "alg": "RS256" }"#]);
        let claims = format!(r#"{{"sub":"{}","iat":1764500000}}"#, random(rng, ALNUM, 12));
        let signature = random(rng, ALNUM, 43);
        bare(format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
    }),
    form("credentials", "bearer header", |rng| {
        within("Authorization: Bearer ", random(rng, &format!("{ALNUM}-._~"), 30) + "9a", "")
    }),
    form("credentials", "bearer", |rng| within(pick(rng, &["Bearer ", "bearer "]), random(rng, ALNUM, 30), "")),
    form("credentials", "token header", |rng| within("authorization: token ", random(rng, HEX, 40), "")),
    form("credentials", "basic header", |rng| within("Authorization: Basic ", basic(rng), "")),
    form("credentials", "basic", |rng| within("Basic ", basic(rng), "")),
    form("credentials", "digest", |rng| {
        within("Authorization: Digest username=app, response=", random(rng, HEX, 32), "")
    }),
    form("credentials", "request signature", |rng| {
        let before = "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/eu/s3, SignedHeaders=host, Signature=";
        within(before, random(rng, HEX, 64), "")
    }),
    form("key", "aws id", |rng| bare(format!("{}{}", pick(rng, &["AKIA", "ASIA"]), random(rng, UPPER, 16)))),
    form("key", "aws secret", |rng| within("aws_secret_access_key = ", random(rng, BASE64, 40), "")),
    form("key", "google", |rng| bare(format!("AIza{}", random(rng, ALNUM, 35)))),
    form("key", "google token", |rng| bare(format!("ya29.{}", random(rng, ALNUM, 60)))),
    form("key", "azure storage", |rng| {
        within("AccountName=shop;AccountKey=", random(rng, BASE64, 86) + "==", ";EndpointSuffix=core.windows.net")
    }),
    form("key", "azure bus", |rng| {
        within("Endpoint=sb://x.servicebus.windows.net/;SharedAccessKey=", random(rng, BASE64, 43) + "=", "")
    }),
    form("key", "azure signature", |rng| {
        within("https://acc.blob.core.windows.net/c?sv=2022-11-02&sig=", random(rng, ALNUM, 43), "&se=2026")
    }),
    form("key", "github", |rng| {
        bare(format!("{}{}", pick(rng, &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]), random(rng, ALNUM, 36)))
    }),
    form("key", "github fine", |rng| bare(format!("github_pat_{}_{}", random(rng, ALNUM, 22), random(rng, ALNUM, 59)))),
    form("key", "google client", |rng| bare(format!("GOCSPX-{}", random(rng, &format!("{ALNUM}-_"), 28)))),
    form("key", "entra", |rng| {
        let (head, digit) = (random(rng, ALNUM, 3), random(rng, DIGITS, 1));
        let length = rng.random_range(31..=34);
        let body = random(rng, &format!("{ALNUM}~._-"), length - 1);
        within("client secret ", format!("{head}{digit}Q~{body}x"), "")
    }),
    form("key", "gitlab", |rng| bare(format!("glpat-{}", random(rng, ALNUM, 20)))),
    form("key", "gitlab of other kinds", |rng| {
        let prefix = pick(
            rng,
            &[
                "gloas-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glsoat-", "glffct-",
                "glwt-",
            ],
        );
        bare(format!("{prefix}{}", random(rng, ALNUM, 26)))
    }),
    form("key", "gitlab agent", |rng| bare(format!("glagent-{}7", random(rng, ALNUM, 49)))),
    form("key", "gitlab runner", |rng| bare(format!("GR1348941{}", random(rng, ALNUM, 20)))),
    form("key", "slack", |rng| {
        bare(format!(
            "{}{}-{}-{}",
            pick(rng, &["xoxb-", "xoxp-", "xoxc-", "xoxd-"]),
            random(rng, DIGITS, 12),
            random(rng, DIGITS, 12),
            random(rng, ALNUM, 24)
        ))
    }),
    form("key", "slack hook", |rng| {
        let secret = random(rng, ALNUM, 24);
        within("https://hooks.slack.com/services/T024BE7LD/B024BE7LH/", secret, "")
    }),
    form("key", "stripe", |rng| {
        bare(format!("{}{}", pick(rng, &["sk_live_", "rk_live_", "sk_test_", "pk_test_"]), random(rng, ALNUM, 24)))
    }),
    form("key", "stripe hook", |rng| bare(format!("whsec_{}", random(rng, ALNUM, 32)))),
    form("key", "openai", |rng| bare(format!("sk-proj-{}7a{}", random(rng, ALNUM, 60), random(rng, ALNUM, 40)))),
    form("key", "npm", |rng| bare(format!("npm_{}7", random(rng, ALNUM, 35)))),
    form("key", "pypi", |rng| bare(format!("pypi-AgEIcHlwaS5vcmc{}", random(rng, ALNUM, 80)))),
    form("key", "sendgrid", |rng| bare(format!("SG.{}.{}7", random(rng, ALNUM, 22), random(rng, ALNUM, 42)))),
    form("key", "vault", |rng| bare(format!("{}{}7", pick(rng, &["hvs.", "hvb.", "hvr."]), random(rng, ALNUM, 90)))),
    form("key", "digitalocean", |rng| {
        bare(format!("{}{}", pick(rng, &["dop_v1_", "doo_v1_", "dor_v1_"]), random(rng, HEX, 64)))
    }),
    form("key", "shopify", |rng| {
        bare(format!("{}{}", pick(rng, &["shpat_", "shpss_", "shpca_", "shppa_"]), random(rng, HEX, 32)))
    }),
    form("key", "alibaba", |rng| bare(format!("LTAI5t{}", random(rng, ALNUM, 18)))),
    form("key", "docker", |rng| bare(format!("dckr_pat_{}7", random(rng, ALNUM, 26)))),
    form("key", "grafana", |rng| bare(format!("glsa_{}_7{}", random(rng, ALNUM, 32), random(rng, HEX, 7)))),
    form("key", "grafana cloud", |rng| bare(format!("glc_eyJ{}7", random(rng, ALNUM, 90)))),
    form("key", "new relic", |rng| bare(format!("NRAK-{}", random(rng, &format!("{UPPER}{DIGITS}"), 27)))),
    form("key", "databricks", |rng| bare(format!("dapi{}", random(rng, HEX, 32)))),
    form("private_key", "pem", |rng| private_key(rng, "\n", true)),
    form("private_key", "escaped pem", |rng| private_key(rng, "\\n", true)),
    form("private_key", "age", |rng| bare(format!("AGE-SECRET-KEY-1{}", random(rng, &format!("{UPPER}{DIGITS}"), 58)))),
    form("private_key", "cut off", |rng| private_key(rng, "\n", false)),
    form("cookie", "set", |rng| within("Set-Cookie: sid=", random(rng, ALNUM, 24), "; Path=/; HttpOnly; SameSite=Lax")),
    form("cookie", "sent", |rng| within("Cookie: theme=dark; session=", random(rng, ALNUM, 24), "; _ga=GA1.2.3")),
    form("cookie", "of a server", |rng| within("JSESSIONID=", random(rng, &format!("{UPPER}{DIGITS}"), 32), "")),
    form("password", "dsn", |rng| {
        let scheme = pick(
            rng,
            &["postgres", "postgresql", "mysql", "mongodb", "mongodb+srv", "amqp", "amqps", "redis", "clickhouse"],
        );
        let host = pick(rng, &["db.internal:5432", "10.0.0.3", "db-1.eu.example.com:1234", "localhost"]);
        let user = random(rng, LOWER, 4);
        within(&format!("{scheme}://{user}:"), password(rng), &format!("@{host}/shop"))
    }),
    form("password", "dsn without user", |rng| within("redis://:", password(rng), "@cache:6379/0")),
    form("password", "dsn of several hosts", |rng| {
        within("mongodb://app:", password(rng), "@h1:27017,h2:27017/shop?replicaSet=rs0")
    }),
    form("password", "dsn of Go", |rng| within("app:", password(rng), "@tcp(db:3306)/shop?parseTime=true")),
    form("password", "jdbc", |rng| within("jdbc:postgresql://db/shop?user=app&password=", password(rng), "")),
    form("password", "ado", |rng| within("Server=db;User Id=app;Password=", password(rng), ";Encrypt=true")),
    form("password", "libpq", |rng| within("host=db user=app password=", password(rng), " dbname=shop")),
    form("password", "option", |rng| within("--password ", password(rng), " --host db")),
    form("password", "option in a list", |rng| within("[\"--password\", \"", password(rng), "\", \"--host\"]")),
    form("password", "element", |rng| within("<smtp_pass>", password(rng), "</smtp_pass>")),
    form("password", "element with a namespace", |rng| {
        within("<wsse:Password Type=\"#PasswordText\">", password(rng), "</wsse:Password>")
    }),
    form("secret", "assigned", |rng| {
        let name = pick(rng, &["client_secret", "apiKey", "access_token", "API_KEY", "x-api-key", "refreshToken"]);
        within(&format!("{name}{}", pick(rng, &["=", ": ", " = "])), password(rng), "")
    }),
    form("secret", "member", |rng| {
        let name = pick(rng, &["client_secret", "apiKey", "access_token", "signing_key"]);
        within(&format!("{{\"{name}\": \""), password(rng), "\", \"n\": 1}")
    }),
    form("secret", "parameter", |rng| {
        let name = pick(rng, &["token", "key", "api_key", "sig", "access_token", "X-Amz-Signature"]);
        within(&format!("https://api.example.com/v1?{name}="), random(rng, ALNUM, 20) + "7", "&page=2")
    }),
];

fn basic(rng: &mut StdRng) -> String {
    STANDARD.encode(format!("{}:{}", random(rng, LOWER, 6), password(rng)))
}

/// A PEM block, whose second line of base64 is the secret.
fn private_key(rng: &mut StdRng, newline: &str, is_whole: bool) -> Planted {
    let kind = pick(rng, &["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "]);
    let lines: Vec<String> = (0..rng.random_range(2..6)).map(|_| random(rng, BASE64, 64)).collect();
    let secret = lines[1].clone();
    let mut text = format!("-----BEGIN {kind}PRIVATE KEY-----{newline}{}", lines.join(newline));
    if is_whole {
        text.push_str(&format!("{newline}-----END {kind}PRIVATE KEY-----"));
    }
    Planted { text, secret }
}
