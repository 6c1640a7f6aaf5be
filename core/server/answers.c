/* answers.c -- what a process says, and to whom it goes. */
#include "process.h"

/* [number, "CODE: sentence"]: the worker's word is checked like a client's. */
static ml_code read_error(ml_unpack *cursor, ml_error *why)
{
    uint32_t count;
    int64_t number;
    ml_bytes text;
    char sentence[ML_SENTENCE_MAX];
    if (!ml_unpack_array(cursor, &count) || count != 2 || !ml_unpack_int(cursor, &number) ||
        number < 1 || number > ML_UNREACHABLE || !ml_unpack_str(cursor, &text))
        return ml_error_set(why, ML_INTERNAL, "a worker's error is none that is known");
    size_t size = text.size < sizeof sentence ? text.size : sizeof sentence - 1;
    memcpy(sentence, text.data, size);
    sentence[size] = '\0';
    return ml_error_retell(why, (ml_code)number, sentence);
}

/* Without `msgid`, from which on `cursor` goes. False: that is no answer. */
static bool take_answer(ml_process *process, ml_unpack *cursor)
{
    int64_t msgid;
    if (!ml_unpack_int(cursor, &msgid)) return false;
    if (process->first == NULL || process->first->msgid != msgid)
        return ml_queue_dropped(process, msgid);
    ml_error why = {.code = ML_OK};
    ml_code code = *cursor->at == 0xc0 ? ML_OK : read_error(cursor, &why);
    if (!code && !ml_unpack_skip(cursor)) return false;
    ml_bytes result = {cursor->at, (size_t)(cursor->end - cursor->at)};
    if (code && result.size == 1) result.size = 0; /* nil: nothing besides */
    process->answered++;
    ml_ask *ask = ml_queue_take(process);
    if (process->culprit == ask) process->culprit = NULL; /* it came to its end after all */
    if (process->kind->answer != NULL)
        process->kind->answer(process, ask, code, result, why.sentence);
    else
        ask->asked(ask, code, result, why.sentence);
    return true;
}

static bool take_told(ml_process *process, ml_unpack *cursor)
{
    uint32_t count;
    ml_bytes name;
    int64_t walls;
    if (!ml_unpack_str(cursor, &name)) return false;
    if (!ml_bytes_equal(name, ML_STR("ready")))
        return process->kind->told != NULL && process->kind->told(process, name, *cursor);
    if (!ml_unpack_array(cursor, &count) || !ml_unpack_int(cursor, &walls)) return false;
    process->walls = (unsigned)walls;
    return true;
}

bool ml_answers_take(ml_process *process, ml_bytes message)
{
    ml_unpack cursor = ml_unpack_from(message);
    uint32_t count;
    int64_t kind;
    if (!ml_unpack_array(&cursor, &count) || !ml_unpack_int(&cursor, &kind)) return false;
    if (kind == 1 && count == 4) return take_answer(process, &cursor);
    return kind == 2 && count == 3 && take_told(process, &cursor);
}
