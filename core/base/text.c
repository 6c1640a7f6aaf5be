/* text.c -- UUIDs and RFC 3339, digit by digit: no locale, no time zone tables. */
#include "text.h"

#include <stdio.h>

/* ---- UUID --------------------------------------------------------------------------- */

static const char hex[] = "0123456789abcdef";

void ml_uuid_make(uint8_t id[ML_ID_SIZE], int64_t time, const uint8_t random[10])
{
    uint8_t milliseconds[8];
    ml_put_be64(milliseconds, (uint64_t)(time / 1000));
    memcpy(id, milliseconds + 2, 6);
    memcpy(id + 6, random, 10);
    id[6] = (uint8_t)(0x70 | (id[6] & 0x0f)); /* version 7 */
    id[8] = (uint8_t)(0x80 | (id[8] & 0x3f)); /* the variant of RFC 9562 */
}

static bool dash_before(int byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

void ml_uuid_write(char text[ML_UUID_TEXT + 1], const uint8_t id[ML_ID_SIZE])
{
    char *to = text;
    for (int byte = 0; byte < ML_ID_SIZE; byte++) {
        if (dash_before(byte)) *to++ = '-';
        *to++ = hex[id[byte] >> 4];
        *to++ = hex[id[byte] & 0x0f];
    }
    *to = '\0';
    ML_ASSERT(to - text == ML_UUID_TEXT);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool ml_uuid_read(ml_bytes text, uint8_t id[ML_ID_SIZE])
{
    if (text.size != ML_UUID_TEXT) return false;
    const char *at = text.data;
    uint8_t read[ML_ID_SIZE];
    for (int byte = 0; byte < ML_ID_SIZE; byte++) {
        if (dash_before(byte) && *at++ != '-') return false;
        int high = hex_value(at[0]), low = hex_value(at[1]);
        if (high < 0 || low < 0) return false;
        read[byte] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    memcpy(id, read, sizeof read);
    return true;
}

/* ---- the calendar --------------------------------------------------------------------
 *
 * Proleptic Gregorian. The year is begun in March, so that the leap day is its last and a
 * month's first day is a straight line: (153 m + 2) / 5 days for m months after March. */

enum { DAYS_4_YEARS = 1461, DAYS_100_YEARS = 36524, DAYS_400_YEARS = 146097 };
enum { MARCH_0000_TO_1970 = 719468 }; /* days */

static const int64_t SECOND = 1000000, DAY = 86400 * (int64_t)1000000; /* microseconds */

static const int64_t TIME_MIN = -62167219200 * (int64_t)1000000;    /* 0000-01-01T00:00:00 */
static const int64_t TIME_MAX = 253402300800 * (int64_t)1000000 - 1; /* 9999-12-31, its end */

typedef struct date {
    int64_t year;
    int month, day; /* from 1 */
} date;

/* Days since 1970 for a year from 0. */
static int64_t days_from_date(date d)
{
    int64_t months = (d.month + 9) % 12;
    int64_t year = d.year + 400 - (d.month <= 2); /* one era up: never negative */
    int64_t days = year * 365 + year / 4 - year / 100 + year / 400;
    return days + (153 * months + 2) / 5 + d.day - 1 - DAYS_400_YEARS - MARCH_0000_TO_1970;
}

static date date_from_days(int64_t days)
{
    days += MARCH_0000_TO_1970 + DAYS_400_YEARS;
    int64_t era = days / DAYS_400_YEARS, day = days % DAYS_400_YEARS;
    /* The last days of 4, 100 and 400 years are leap days; without them years are even. */
    int64_t year = (day - day / (DAYS_4_YEARS - 1) + day / DAYS_100_YEARS -
                    day / (DAYS_400_YEARS - 1)) / 365;
    day -= year * 365 + year / 4 - year / 100;
    int64_t months = (5 * day + 2) / 153;
    date d = {.day = (int)(day - (153 * months + 2) / 5) + 1};
    d.month = (int)(months < 10 ? months + 3 : months - 9);
    d.year = (era - 1) * 400 + year + (d.month <= 2);
    return d;
}

static int days_in_month(int64_t year, int month)
{
    if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* ---- writing times ------------------------------------------------------------------ */

static void write_digits(char *to, int count, int64_t value)
{
    for (int place = count - 1; place >= 0; place--) {
        to[place] = (char)('0' + value % 10);
        value /= 10;
    }
}

size_t ml_time_write(char text[ML_TIME_TEXT + 1], int64_t time)
{
    if (time < TIME_MIN || time > TIME_MAX)
        return (size_t)snprintf(text, ML_TIME_TEXT + 1, "%lld", (long long)time);
    int64_t from_year_0 = time - TIME_MIN; /* not negative, so that / and % round down */
    int64_t days = from_year_0 / DAY + TIME_MIN / DAY;
    int64_t rest = from_year_0 % DAY, seconds = rest / SECOND;
    date d = date_from_days(days);
    memcpy(text, "0000-00-00T00:00:00.000000Z", ML_TIME_TEXT + 1);
    write_digits(text, 4, d.year);
    write_digits(text + 5, 2, d.month);
    write_digits(text + 8, 2, d.day);
    write_digits(text + 11, 2, seconds / 3600);
    write_digits(text + 14, 2, seconds / 60 % 60);
    write_digits(text + 17, 2, seconds % 60);
    write_digits(text + 20, 6, rest % SECOND);
    return ML_TIME_TEXT;
}

/* ---- reading times ------------------------------------------------------------------ */

typedef struct reader {
    const char *at, *end;
} reader;

static bool read_char(reader *from, const char *any_of)
{
    if (from->at == from->end || *from->at == '\0' || !strchr(any_of, *from->at)) return false;
    from->at++;
    return true;
}

/* Exactly `count` digits, a number from `min` to `max`. */
static bool read_number(reader *from, int count, int min, int max, int *value)
{
    int number = 0;
    if (from->end - from->at < count) return false;
    for (; count > 0; count--) {
        char c = *from->at++;
        if (c < '0' || c > '9') return false;
        number = number * 10 + (c - '0');
    }
    *value = number;
    return number >= min && number <= max;
}

static bool read_date(reader *from, int64_t *days)
{
    int year;
    date d;
    if (!read_number(from, 4, 0, 9999, &year) || !read_char(from, "-")) return false;
    d.year = year;
    if (!read_number(from, 2, 1, 12, &d.month) || !read_char(from, "-")) return false;
    if (!read_number(from, 2, 1, days_in_month(year, d.month), &d.day)) return false;
    *days = days_from_date(d);
    return true;
}

/* What follows a dot, if there is one: 1 to 9 digits, as microseconds. */
static bool read_fraction(reader *from, int64_t *microseconds)
{
    *microseconds = 0;
    if (!read_char(from, ".")) return true;
    int digits = 0;
    for (int64_t unit = SECOND / 10; digits <= 9; digits++, unit /= 10) {
        if (from->at == from->end || *from->at < '0' || *from->at > '9') break;
        *microseconds += unit * (*from->at++ - '0');
    }
    return digits >= 1 && digits <= 9;
}

static bool read_clock(reader *from, int64_t *microseconds)
{
    int hour, minute, second;
    if (!read_number(from, 2, 0, 23, &hour) || !read_char(from, ":")) return false;
    if (!read_number(from, 2, 0, 59, &minute) || !read_char(from, ":")) return false;
    if (!read_number(from, 2, 0, 59, &second)) return false; /* :60 has no number of its own */
    if (!read_fraction(from, microseconds)) return false;
    *microseconds += (hour * 3600 + minute * 60 + second) * SECOND;
    return true;
}

static bool read_offset(reader *from, int64_t *microseconds)
{
    int hour, minute;
    *microseconds = 0;
    if (read_char(from, "Zz")) return true;
    bool west = from->at < from->end && *from->at == '-';
    if (!read_char(from, "+-")) return false;
    if (!read_number(from, 2, 0, 23, &hour) || !read_char(from, ":")) return false;
    if (!read_number(from, 2, 0, 59, &minute)) return false;
    *microseconds = (hour * 3600 + minute * 60) * SECOND;
    if (west) *microseconds = -*microseconds;
    return true;
}

static bool read_rfc3339(reader from, int64_t *time)
{
    int64_t days, clock, offset;
    if (!read_date(&from, &days) || !read_char(&from, "Tt ")) return false;
    if (!read_clock(&from, &clock) || !read_offset(&from, &offset)) return false;
    if (from.at != from.end) return false;
    *time = days * DAY + clock - offset;
    return true;
}

static bool read_integer(reader from, int64_t *time)
{
    bool negative = read_char(&from, "-");
    int64_t value = 0;
    if (from.at == from.end) return false;
    for (; from.at < from.end; from.at++) {
        char c = *from.at;
        if (c < '0' || c > '9') return false;
        /* Counted downwards: the least integer has no positive twin. */
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_sub_overflow(value, c - '0', &value)) return false;
    }
    if (!negative && value == INT64_MIN) return false;
    *time = negative ? value : -value;
    return true;
}

bool ml_time_read(ml_bytes text, int64_t *time)
{
    if (text.size == 0) return false;
    const char *data = text.data;
    reader from = {data, data + text.size};
    return read_rfc3339(from, time) || read_integer(from, time);
}

/* ---- spans of time -------------------------------------------------------------------- */

typedef struct unit {
    const char *name;
    int64_t us;
} unit;

static const unit units[] = {{"w", 604800000000}, {"d", 86400000000}, {"h", 3600000000},
                             {"m", 60000000},     {"s", 1000000},     {"ms", 1000},
                             {"us", 1}};
enum { UNITS = sizeof units / sizeof units[0] };

static const int64_t DURATION_MAX =
    365250 * (int64_t)86400000000; /* sums of times stay far from 2^63 */

/* The first unit from `first` that the letters are. */
static size_t find_unit(const char *letters, size_t size, size_t first)
{
    while (first < UNITS &&
           (strlen(units[first].name) != size || memcmp(units[first].name, letters, size) != 0))
        first++;
    return first;
}

bool ml_duration_read(ml_bytes text, int64_t *us)
{
    const char *at = text.data, *end = at == NULL ? at : at + text.size;
    int64_t sum = 0;
    for (size_t next = 0; at < end; next++) {
        int64_t number = 0;
        const char *digits = at, *letters;
        for (; at < end && *at >= '0' && *at <= '9' && number <= DURATION_MAX; at++)
            number = number * 10 + (*at - '0');
        for (letters = at; at < end && *at >= 'a' && *at <= 'z';) at++;
        next = find_unit(letters, (size_t)(at - letters), next);
        if (letters == digits || next == UNITS || number > (DURATION_MAX - sum) / units[next].us)
            return false;
        sum += number * units[next].us;
    }
    if (sum == 0) return false;
    *us = sum;
    return true;
}
