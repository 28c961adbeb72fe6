/* `stayctl top`: the pools, each second, until q is pressed. */
#include "base/clock.h"
#include "command.h"
#include "look.h"
#include "words.h"

#include <curses.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TOP_INTERVAL_MIN_S = 1, TOP_INTERVAL_MAX_S = 60 };

struct top_pool {
    struct look look;
    struct stayd *client; /* NULL: not connected */
    struct state before;  /* the state at the previous look; zeroed: there was no such look */
    uint64_t at_ms;       /* the times of this look and of the previous look, monotonic */
    uint64_t before_ms;
};

struct top {
    struct top_pool *pools;
    unsigned count;
    unsigned interval_s;
    bool paused;
};

static void top_look_at(struct top_pool *pool) {
    struct look *look = &pool->look;
    if (pool->client == NULL) {
        pool->client = target_open(look->target, &look->url, &look->error);
    }
    pool->before = look->state;
    pool->before_ms = look->answered ? pool->at_ms : 0;
    look_at(look, pool->client);
    pool->at_ms = clock_monotonic_ms();
    if (!look->answered) {
        stayd_close(pool->client);
        pool->client = NULL;
    }
}

static void top_look(struct top *top) {
    for (unsigned i = 0; i < top->count; i++) {
        top_look_at(&top->pools[i]);
    }
}

/* The rate per second; 0 if the daemon was restarted, so that the counter is smaller than
 * before. */
static double top_rate(const struct top_pool *pool, uint64_t now, uint64_t before) {
    if (pool->before_ms == 0 || now < before || pool->at_ms <= pool->before_ms) {
        return 0;
    }
    return (double)(now - before) * 1000 / (double)(pool->at_ms - pool->before_ms);
}

/* The hit ratio of the reads since the last look, or of all reads if there were none. */
static const char *top_hits(const struct top_pool *pool, char text[WORDS_MAX]) {
    const struct state *state = &pool->look.state;
    const struct state *before = &pool->before;
    if (pool->before_ms != 0 && state->lookups > before->lookups && state->hits >= before->hits) {
        return words_share(state->hits - before->hits, state->lookups - before->lookups, text);
    }
    return words_share(state->hits, state->lookups, text);
}

static void top_draw_head(const struct top *top) {
    char uptime[WORDS_MAX];
    char now[16];
    time_t seconds = time(NULL);
    struct tm parts;
    localtime_r(&seconds, &parts);
    strftime(now, sizeof now, "%H:%M:%S", &parts);
    move(0, 0);
    for (unsigned i = 0; i < top->count; i++) {
        const struct state *state = &top->pools[i].look.state;
        if (top->pools[i].look.answered && state->stayd_version[0] != '\0') {
            printw("stayd %s, up %s, %" PRIu64 " of %" PRIu64 " connections, ",
                   state->stayd_version, words_time(state->uptime_s, uptime), state->connections,
                   state->connections_max);
            break;
        }
    }
    printw("%s%s", now, top->paused ? " (paused)" : "");
    attron(A_REVERSE);
    mvprintw(2, 0, "%-14s %-9s %9s %9s %7s %8s %6s %9s %8s %8s", "POOL", "STATE", "READS/S",
             "STORES/S", "HITS", "EVICT/S", "CONNS", "ITEMS", "PRESSURE", "SYNC LAG");
    attroff(A_REVERSE);
}

/* Draws live, dead and free memory: |||||:::..... */
static void top_draw_bar(int row, const struct state *state) {
    char live[WORDS_MAX];
    char capacity[WORDS_MAX];
    int width = COLS - 36;
    if (width < 10 || state->capacity_bytes == 0) {
        return;
    }
    double whole = (double)state->capacity_bytes;
    int lives = (int)((double)state->live_bytes / whole * width);
    int deads = (int)((double)state->dead_bytes / whole * width);
    move(row, 2);
    for (int i = 0; i < width; i++) {
        addch(i < lives ? (chtype)'|' : i < lives + deads ? (chtype)':' : (chtype)'.');
    }
    printw(" %s live of %s", words_bytes(state->live_bytes, live),
           words_bytes(state->capacity_bytes, capacity));
}

static void top_draw_pool(int row, const struct top_pool *pool) {
    const struct state *state = &pool->look.state;
    const struct state *before = &pool->before;
    char hits[WORDS_MAX];
    char lag[WORDS_MAX] = "-";
    mvprintw(row, 0, "%-14.30s ", look_name(&pool->look));
    attron(COLOR_PAIR(look_level(&pool->look)) | A_BOLD);
    printw("%-9s", look_word(&pool->look));
    attroff(COLOR_PAIR(look_level(&pool->look)) | A_BOLD);
    if (!pool->look.answered) {
        printw(" %s", pool->look.error.message);
        return;
    }
    if (state_is(state->persist)) {
        snprintf(lag, sizeof lag, "%.1f s", (double)state->sync_lag_ms / 1000);
    }
    printw(" %9.0f %9.0f %7s %8.0f %6" PRIu64 " %9" PRIu64 " %7.0f%% %8s",
           top_rate(pool, state->lookups, before->lookups),
           top_rate(pool, state->stores, before->stores), top_hits(pool, hits),
           top_rate(pool, state->evictions, before->evictions), state->pool_connections,
           state->items, 100 * state_pressure(state), lag);
    top_draw_bar(row + 1, state);
}

static void top_draw_advice(const struct top *top, int row) {
    for (unsigned i = 0; i < top->count; i++) {
        const struct look *look = &top->pools[i].look;
        for (unsigned j = 0; j < look->advice_count; j++, row += 2) {
            attron(COLOR_PAIR(look_level(look)));
            mvprintw(row, 0, "pool %s %s.", look_name(look), look->advice[j].what);
            attroff(COLOR_PAIR(look_level(look)));
            mvprintw(row + 1, 4, "%s", look->advice[j].remedy);
        }
    }
}

static void top_draw(const struct top *top) {
    erase();
    top_draw_head(top);
    int row = 3;
    for (unsigned i = 0; i < top->count; i++, row += 2) {
        top_draw_pool(row, &top->pools[i]);
    }
    top_draw_advice(top, row + 1);
    mvprintw(LINES - 1, 0, "q quit   space pause   + - interval: %u s", top->interval_s);
    refresh();
}

/* False: q was pressed. */
static bool top_take_key(struct top *top, int key) {
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case ' ':
        top->paused = !top->paused;
        break;
    case '+':
        top->interval_s += top->interval_s < TOP_INTERVAL_MAX_S;
        break;
    case '-':
        top->interval_s -= top->interval_s > TOP_INTERVAL_MIN_S;
        break;
    default:
        break; /* the terminal was resized: draw again */
    }
    return true;
}

/* Draws until q is pressed. */
static void top_show(struct top *top) {
    uint64_t due_ms = 0;
    bool goes_on = true;
    while (goes_on) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= due_ms && !top->paused) {
            top_look(top);
            due_ms = clock_monotonic_ms() + (uint64_t)top->interval_s * 1000;
        }
        top_draw(top);
        now_ms = clock_monotonic_ms();
        timeout(top->paused || due_ms <= now_ms ? 1000 : (int)(due_ms - now_ms));
        goes_on = top_take_key(top, getch());
    }
}

static int top_run_terminal(struct top *top) {
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fputs("stayctl: top: needs a terminal; use status, or top --json\n", stderr);
        return EXIT_WRONG;
    }
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) {
        fputs("stayctl: top: this terminal is not known (TERM)\n", stderr);
        return EXIT_WRONG;
    }
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(LOOK_WELL, COLOR_GREEN, -1);
        init_pair(LOOK_WARNING, COLOR_YELLOW, -1);
        init_pair(LOOK_FAULT, COLOR_RED, -1);
    }
    top_show(top);
    endwin();
    delscreen(screen);
    return 0;
}

/* Prints a line for each pool and second, until the output is closed or a signal arrives. */
static int top_run_json(struct top *top) {
    bool printed = true;
    top_look(top);
    while (printed) {
        const struct timespec wait = {.tv_sec = top->interval_s};
        nanosleep(&wait, NULL);
        top_look(top);
        for (unsigned i = 0; i < top->count && printed; i++) {
            const struct top_pool *pool = &top->pools[i];
            const struct state *state = &pool->look.state;
            const struct state *before = &pool->before;
            printed = words_print_json(json_pack(
                "{s:s, s:I, s:b, s:f, s:f, s:f, s:I, s:I, s:f, s:I}", "pool",
                look_name(&pool->look), "time", (json_int_t)time(NULL), "answered",
                pool->look.answered, "reads_per_s", top_rate(pool, state->lookups, before->lookups),
                "stores_per_s", top_rate(pool, state->stores, before->stores), "evictions_per_s",
                top_rate(pool, state->evictions, before->evictions), "connections",
                (json_int_t)state->pool_connections, "items", (json_int_t)state->items, "pressure",
                state_pressure(state), "sync_lag_ms", (json_int_t)state->sync_lag_ms));
        }
    }
    return EXIT_FAULT;
}

int top_run(const struct target_list *list, struct invocation *invocation) {
    struct top top = {.count = list->count, .interval_s = TOP_INTERVAL_MIN_S};
    top.pools = calloc(list->count, sizeof *top.pools);
    if (top.pools == NULL) {
        fputs("stayctl: top: no memory\n", stderr);
        return EXIT_FAULT;
    }
    for (unsigned i = 0; i < top.count; i++) {
        top.pools[i].look.target = &list->items[i];
    }
    int result = invocation->json ? top_run_json(&top) : top_run_terminal(&top);
    for (unsigned i = 0; i < top.count; i++) {
        stayd_close(top.pools[i].client);
    }
    free(top.pools);
    return result;
}
