//! The live page as it looked meanwhile, or why there is no picture.

use crate::{demo::picture::Picture, report::escape};

pub(super) fn section(picture: &Result<Picture, String>) -> String {
    let shown = match picture {
        Ok(Picture { light, dark }) => format!(
            r#"<p>Taken while this demo ran, at <code>http://127.0.0.1:8080/</code> of a Tollgate with the usual ports.</p>
<picture>
<source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}">
<img class="live" alt="A headline with the denials a second; below it a table of the rules with their limits, what they admit and deny, and five minutes as small plots." src="data:image/png;base64,{light}">
</picture>
"#
        ),
        Err(why) => {
            format!("<p>{} While Tollgate runs, a browser shows it at its admin address.</p>\n", escape(why))
        }
    };
    format!("<section>\n<h2>What its operator sees</h2>\n{shown}</section>\n")
}
