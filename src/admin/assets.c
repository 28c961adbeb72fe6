#include "admin/assets.h"

#include "charts_js.h"
#include "dashboard_css.h"
#include "dashboard_js.h"
#include "dygraph_css.h"
#include "dygraph_js.h"
#include "icon_svg.h"
#include "index_html.h"

#include <string.h>

#define ASSET_SCRIPT "text/javascript; charset=utf-8"
#define ASSET_STYLE "text/css; charset=utf-8"

static const struct asset assets[] = {
    {"/", "text/html; charset=utf-8", index_html, sizeof index_html},
    {"/dashboard.css", ASSET_STYLE, dashboard_css, sizeof dashboard_css},
    {"/dashboard.js", ASSET_SCRIPT, dashboard_js, sizeof dashboard_js},
    {"/charts.js", ASSET_SCRIPT, charts_js, sizeof charts_js},
    {"/dygraph.css", ASSET_STYLE, dygraph_css, sizeof dygraph_css},
    {"/dygraph.js", ASSET_SCRIPT, dygraph_js, sizeof dygraph_js},
    {"/icon.svg", "image/svg+xml", icon_svg, sizeof icon_svg},
};

const struct asset *asset_find(const char *path) {
    for (size_t i = 0; i < sizeof assets / sizeof assets[0]; i++) {
        if (strcmp(assets[i].path, path) == 0) {
            return &assets[i];
        }
    }
    return NULL;
}
