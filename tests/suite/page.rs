//! The page at `/`: where it was built, all that it loads; elsewhere how to get it.

use std::io::Read as _;

use ochre::options::GatewayOptions;
use ochre_tests::{Engine, World};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

/// What came back.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

async fn ask(engine: &Engine, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
    let request = reqwest::Client::new().request(method, format!("{}{path}", engine.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    Got { status, headers, body: answer.bytes().await.unwrap().to_vec() }
}

/// Names what a page loads.
fn loads(html: &str) -> Vec<String> {
    let assets = html.split('"').filter(|part| part.starts_with("/assets/"));
    assets.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_loads_from_here_alone_or_says_how_to_get_it() {
    let world = World::empty().await;
    let engine = world.engine().await;
    let page = ask(&engine, Method::GET, "/", &[("accept", "text/html")]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy: Vec<&str> = page.header("content-security-policy").split("; ").collect();
    assert!(policy.contains(&"default-src 'self'"), "{policy:?}");
    assert!(policy.contains(&"frame-ancestors 'none'"), "{policy:?}");
    let html = page.text();
    assert!(html.contains("<title>ochre</title>") && html.contains("/graphql"), "{html}");
    let assets = loads(&html);
    assert_eq!(
        assets.is_empty(),
        html.contains("hack/ui"),
        "it loads something, or says how to get it: {html}"
    );
    let licences = ask(&engine, Method::GET, "/licences.txt", &[]).await;
    if assets.is_empty() {
        assert_eq!(licences.status, StatusCode::NOT_FOUND);
    } else {
        assert!(html.contains("href=\"/licences.txt\""), "{html}");
        assert_eq!(licences.header("content-type"), "text/plain; charset=utf-8");
        let text = licences.text();
        for part in ["\ngraphiql 4.", "\nreact 19.", "\ngraphql 16.", "Permission is hereby granted"] {
            assert!(text.contains(part), "{part:?} is not among the licences");
        }
    }
    for asset in assets {
        is_served_in_every_form(&engine, &asset).await;
    }
    for gone in ["/assets/", "/assets/none.js", "/assets/..%2findex.html", "/index.html", "/assets"] {
        assert_eq!(ask(&engine, Method::GET, gone, &[]).await.status, StatusCode::NOT_FOUND, "{gone}");
    }
}

async fn is_served_in_every_form(engine: &Engine, asset: &str) {
    let plain = ask(engine, Method::GET, asset, &[]).await;
    assert_eq!((plain.status, plain.header("content-encoding")), (StatusCode::OK, ""), "{asset}");
    let media = if asset.contains(".css") { "text/css" } else { "text/javascript" };
    assert_eq!(plain.header("content-type"), format!("{media}; charset=utf-8"));
    let mut tags = vec![plain.header("etag").to_owned()];
    for (accepted, coding) in [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip")]
    {
        let got = ask(engine, Method::GET, asset, &[("accept-encoding", accepted)]).await;
        assert_eq!(got.header("content-encoding"), coding, "{accepted}");
        assert_eq!(got.header("vary"), "accept-encoding");
        assert_eq!(got.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(got.header("content-type"), plain.header("content-type"));
        assert!(got.body.len() < plain.body.len() / 2, "{} of {}", got.body.len(), plain.body.len());
        if coding == "gzip" {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&got.body[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain.body, "{asset} is another file as {coding}");
        }
        let tag = got.header("etag");
        let again = [("accept-encoding", accepted), ("if-none-match", tag)];
        let known = ask(engine, Method::GET, asset, &again).await;
        assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
        let head = ask(engine, Method::HEAD, asset, &[("accept-encoding", accepted)]).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), got.body.len().to_string());
        tags.push(tag.to_owned());
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has a tag of its own: {tags:?}");
    assert!(ask(engine, Method::GET, &format!("{asset}.br"), &[]).await.status == StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_the_playground_there_is_no_page() {
    let world = World::empty().await;
    let options = GatewayOptions { playground: false, ..GatewayOptions::default() };
    let engine = world.engine_told(options).await;
    assert_eq!(ask(&engine, Method::GET, "/", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(engine.names(serde_json::Value::Null).await, Vec::<String>::new());
}
