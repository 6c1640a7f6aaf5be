/* repl_term.c -- the line being typed: libedit, one key at a time.
 *
 * libedit is unbuffered: it is given a key when the loop says that there is one, and keeps the
 * line between keys. Between lines the terminal is as it was, so that Lua may print and Ctrl-C is
 * a signal; while a line is edited Ctrl-C is a key like any other.
 *
 * libedit believes that nobody else writes. What is printed above the prompt therefore first goes
 * up by the rows of the line and erases it, and then has libedit draw it anew.
 */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "repl.h"

#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"
#define PASTE_END L"\033[201~"

enum {
    COLUMNS = 80, /* of a terminal that does not say */
    TAB = 8,
    PASTED_MAX = 256 << 10, /* characters of one paste; the rest is dropped */
    LISTED_MAX = 60         /* names shown by TAB */
};

static ml_repl_term *term_of(EditLine *edit)
{
    void *term = NULL;
    ML_IGNORE(el_wget(edit, EL_CLIENTDATA, &term) != 0); /* it was set when it began */
    return term;
}

static unsigned columns(void)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : COLUMNS;
}

/* ---- where things are on the screen ----------------------------------------------------- */

typedef struct place {
    unsigned row, column, width;
} place;

static void step(place *at, wchar_t character)
{
    int wide = wcwidth(character);
    unsigned cells = wide < 0 ? 2 : (unsigned)wide; /* ^X */
    if (character == L'\t') cells = TAB - at->column % TAB;
    if (character == L'\n' || at->column + cells > at->width) {
        at->row++;
        at->column = 0;
    }
    if (character != L'\n') at->column += cells;
    if (at->column >= at->width) {
        at->row++;
        at->column = 0;
    }
}

/* The place of the line's `count` first characters' end; the prompt is ASCII. */
static place place_of(const ml_repl_term *term, size_t count)
{
    place at = {.width = columns()};
    const LineInfoW *line = el_wline(term->edit);
    for (size_t n = 1; n < term->prompt.size; n++) step(&at, L' '); /* it ends with NUL */
    for (size_t n = 0; n < count; n++) step(&at, line->buffer[n]);
    return at;
}

static place place_of_cursor(const ml_repl_term *term)
{
    const LineInfoW *line = el_wline(term->edit);
    return place_of(term, (size_t)(line->cursor - line->buffer));
}

/* The terminal's cursor goes to a fresh line below what was typed. */
static void go_below(const ml_repl_term *term)
{
    const LineInfoW *line = el_wline(term->edit);
    place end = place_of(term, (size_t)(line->lastchar - line->buffer)),
          now = place_of_cursor(term);
    if (end.row > now.row) printf("\033[%uB", end.row - now.row);
    printf("\r\n");
    fflush(stdout);
}

static void print_lines(ml_bytes text)
{
    const char *at = text.data, *end = at + text.size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        printf("%.*s\r\n", (int)(stop - at), at);
        at = stop + 1;
    }
}

void ml_repl_term_above(ml_repl_term *term, ml_bytes text)
{
    if (text.size == 0) return;
    place now = place_of_cursor(term);
    if (now.row > 0) printf("\033[%uA", now.row);
    printf("\r\033[J");
    print_lines(text);
    fflush(stdout);
    ML_IGNORE(el_wset(term->edit, EL_REFRESH) != 0); /* draws; there is nothing to refuse */
}

/* ---- a line's begin and end ------------------------------------------------------------- */

static char *prompt_of(EditLine *edit) { return (char *)term_of(edit)->prompt.data; }

static bool is_smart(void)
{
    const char *kind = getenv("TERM");
    return kind != NULL && strcmp(kind, "dumb") != 0;
}

/* Shows a prompt; the terminal is libedit's from here on. */
static void begin_line(ml_repl_term *term)
{
    term->accepted = term->cancelled = term->ended = false;
    ml_buf_clear(&term->prompt);
    ml_repl_prompt(term->repl, columns(), &term->prompt);
    ml_buf_byte(&term->prompt, '\0');
    if (is_smart()) printf(PASTE_ON);
    fflush(stdout);
    ML_IGNORE(el_wset(term->edit, EL_UNBUFFERED, 1) != 0);
}

static void end_line(ml_repl_term *term)
{
    ML_IGNORE(el_wset(term->edit, EL_UNBUFFERED, 0) != 0);
    if (is_smart()) printf(PASTE_OFF);
    fflush(stdout);
}

/* ---- keys ------------------------------------------------------------------------------- */

static unsigned char on_accept(EditLine *edit, int key)
{
    (void)key;
    go_below(term_of(edit));
    term_of(edit)->accepted = true;
    return CC_NEWLINE;
}

static unsigned char on_cancel(EditLine *edit, int key)
{
    (void)key;
    printf("^C");
    go_below(term_of(edit));
    term_of(edit)->cancelled = true;
    return CC_NEWLINE;
}

/* libedit has a handler that gives the terminal back for so long. */
static unsigned char on_suspend(EditLine *edit, int key)
{
    (void)edit;
    (void)key;
    return raise(SIGTSTP) == 0 ? CC_REFRESH : CC_ERROR;
}

/* Ctrl-D: the end on an empty line, else what Delete does. */
static unsigned char on_end(EditLine *edit, int key)
{
    (void)key;
    const LineInfoW *line = el_wline(edit);
    if (line->buffer == line->lastchar) {
        term_of(edit)->ended = true;
        return CC_NEWLINE;
    }
    if (line->cursor == line->lastchar) return CC_ERROR;
    el_cursor(edit, 1);
    el_wdeletestr(edit, 1);
    return CC_REFRESH;
}

/* What a terminal pastes it says to be pasted: then TAB is text, and a newline does not send. */
static unsigned char on_paste(EditLine *edit, int key)
{
    (void)key;
    static const wchar_t end[] = PASTE_END;
    size_t count = 0, size = sizeof end / sizeof *end - 1;
    wchar_t *text = malloc((PASTED_MAX + 8) * sizeof *text), next;
    if (text == NULL) return CC_ERROR;
    while (el_wgetc(edit, &next) == 1) {
        text[count++] = next == L'\r' ? L'\n' : next;
        if (count >= size && wmemcmp(text + count - size, end, size) == 0) {
            count -= size;
            break;
        }
        if (count == PASTED_MAX + 7) count--;
    }
    while (count > 0 && text[count - 1] == L'\n') count--;
    text[count] = L'\0';
    int failed = count > 0 ? el_winsertstr(edit, text) : 0;
    free(text);
    return failed ? CC_ERROR : CC_REFRESH;
}

/* ---- TAB -------------------------------------------------------------------------------- */

/* How many bytes all names have in common. */
static size_t common(const ml_buf *names, size_t count)
{
    const char *first = (const char *)names->data, *at = first;
    size_t size = strlen(first);
    for (size_t n = 1; n < count; n++) {
        at += strlen(at) + 1;
        size_t same = 0;
        while (same < size && at[same] == first[same]) same++;
        size = same;
    }
    while (size > 0 && ((uint8_t)first[size] & 0xc0) == 0x80) size--; /* whole characters */
    return size;
}

static void list_names(ml_repl_term *term, size_t count)
{
    const char *at = (const char *)term->names.data;
    size_t widest = 0, room = columns();
    ml_buf text = {0};
    for (size_t n = 0; n < count; n++, at += strlen(at) + 1)
        widest = strlen(at) > widest ? strlen(at) : widest;
    size_t each = widest + 2 < room ? room / (widest + 2) : 1;
    at = (const char *)term->names.data;
    for (size_t n = 0; n < count && n < LISTED_MAX; n++, at += strlen(at) + 1) {
        bool last = (n + 1) % each == 0 || n + 1 == count;
        ml_cli_plain(&text, ml_cli_text(at));
        ml_buf_print(&text, "%*s%s", last ? 0 : (int)(widest + 2 - strlen(at)), "",
                     last ? "\n" : "");
    }
    if (count > LISTED_MAX) ml_buf_print(&text, "and %zu more\n", count - LISTED_MAX);
    if (!text.failed) ml_repl_term_above(term, ml_buf_view(&text));
    ml_buf_free(&text);
}

static unsigned char on_tab(EditLine *edit, int key)
{
    (void)key;
    ml_repl_term *term = term_of(edit);
    const LineInfo *line = el_line(edit);
    size_t begun;
    ml_buf_clear(&term->names);
    size_t count = ml_repl_complete(term->repl,
                                    (ml_bytes){line->buffer, (size_t)(line->cursor - line->buffer)},
                                    &term->names, &begun);
    if (count == 0) return CC_ERROR;
    size_t size = common(&term->names, count);
    if (size > begun) {
        term->names.data[size] = '\0';
        return el_insertstr(edit, (const char *)term->names.data + begun) == 0 ? CC_REFRESH
                                                                               : CC_ERROR;
    }
    if (count > 1) list_names(term, count);
    return count > 1 ? CC_REFRESH : CC_ERROR;
}

/* ---- opening and closing ---------------------------------------------------------------- */

static const struct {
    const wchar_t *name, *help;
    unsigned char (*run)(EditLine *, int);
    const wchar_t *keys[2];
} keys[] = {
    {L"ml-accept", L"Sends the line", on_accept, {L"^M", L"^J"}},
    {L"ml-cancel", L"Gives up the line", on_cancel, {L"^C", NULL}},
    {L"ml-suspend", L"Stops until fg", on_suspend, {L"^Z", NULL}},
    {L"ml-end", L"Deletes, or leaves", on_end, {L"^D", NULL}},
    {L"ml-tab", L"Completes", on_tab, {L"^I", NULL}},
    {L"ml-paste", L"Takes what is pasted", on_paste, {L"\\e[200~", NULL}},
};

static bool set_keys(EditLine *edit)
{
    bool set = el_wset(edit, EL_EDITOR, L"emacs") == 0;
    for (size_t n = 0; n < sizeof keys / sizeof *keys; n++) {
        set = set && el_wset(edit, EL_ADDFN, keys[n].name, keys[n].help, keys[n].run) == 0;
        for (size_t k = 0; k < 2 && keys[n].keys[k] != NULL; k++)
            set = set && el_wset(edit, EL_BIND, keys[n].keys[k], keys[n].name, NULL) == 0;
    }
    set = set && el_wset(edit, EL_BIND, L"^R", L"em-inc-search-prev", NULL) == 0;
    /* While a line is edited Ctrl-C and Ctrl-Z are keys. */
    return set && el_wset(edit, EL_SETTY, L"-d", L"-isig", NULL) == 0;
}

/* libedit counts columns by the locale; what a line holds is UTF-8. */
static void set_locale(void)
{
    if (setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return;
    ML_IGNORE(setlocale(LC_CTYPE, "C.UTF-8") == NULL); /* then umlauts look like \303\266 */
}

ml_code ml_repl_term_open(ml_repl_term *term, ml_repl *repl, ml_error *why)
{
    *term = (ml_repl_term){.repl = repl};
    set_locale();
    ml_code code = ml_repl_history_open(&term->history, why);
    if (code) return code;
    term->edit = el_init("moonlog", stdin, stdout, stderr);
    bool set =
        term->edit != NULL && el_wset(term->edit, EL_CLIENTDATA, term) == 0 &&
        el_set(term->edit, EL_PROMPT, prompt_of) == 0 && el_wset(term->edit, EL_SIGNAL, 1) == 0 &&
        el_set(term->edit, EL_HIST, history, term->history.list) == 0 && set_keys(term->edit);
    if (!set) {
        ml_repl_term_close(term);
        return ml_error_set(why, ML_UNSUPPORTED,
                            "the terminal cannot be used for typing; give statements on stdin");
    }
    begin_line(term);
    return ML_OK;
}

void ml_repl_term_close(ml_repl_term *term)
{
    if (term->edit != NULL) {
        end_line(term);
        el_end(term->edit);
    }
    ml_repl_history_close(&term->history);
    ml_buf_free(&term->prompt);
    ml_buf_free(&term->said);
    ml_buf_free(&term->statement);
    ml_buf_free(&term->names);
}

/* ---- lines ------------------------------------------------------------------------------ */

/* What was typed is taken before end_line, which forgets it. */
static bool take_line(ml_repl_term *term, ml_buf *line)
{
    const LineInfo *typed = el_line(term->edit);
    ml_buf_add(line, typed->buffer, (size_t)(typed->lastchar - typed->buffer));
    return !line->failed;
}

static void send_line(ml_repl_term *term, ml_bytes line)
{
    ml_buf_clear(&term->said);
    ml_buf_clear(&term->statement);
    ml_repl_fed fed = ml_repl_feed(term->repl, line, &term->said, &term->statement);
    ml_repl_history_add(&term->history, ml_buf_view(&term->statement));
    print_lines(ml_buf_view(&term->said));
    term->quit = fed == ML_REPL_QUIT;
}

void ml_repl_term_key(ml_repl_term *term)
{
    int count;
    ml_buf line = {0};
    ML_IGNORE(el_wgets(term->edit, &count) == NULL); /* an empty line is none */
    if (!term->accepted && !term->cancelled && !term->ended) return;
    bool whole = take_line(term, &line);
    end_line(term);
    if (term->ended) {
        term->quit = true;
        print_lines(ML_STR("\n"));
    } else if (term->cancelled) {
        ml_repl_cancel(term->repl);
    } else if (whole) {
        send_line(term, ml_buf_view(&line));
    }
    ml_buf_free(&line);
    if (!term->quit) begin_line(term);
}
