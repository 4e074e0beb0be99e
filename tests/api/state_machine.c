#include "tests/api/state_machine.h"

#include <stdio.h>
#include <string.h>

#include "tests/api/state_operations.h"
#include "tests/api/state_rules.h"

#define TAG 16
#define MAC_ROOM 64

void machine_mismatch(const struct machine *machine, const char *what, unsigned long got,
                      unsigned long wanted, const char *section)
{
    ck_abort_msg("%s:%s: %s 0x%lx, wanted 0x%lx (%s)", machine->row->name, machine->trace, what,
                 got, wanted, section);
}

void machine_feed(struct machine *machine, const CK_BYTE *bytes, CK_ULONG len)
{
    REQUIRE(machine->fed_len + len <= MACHINE_BYTES);
    if (len > 0)
        memcpy(machine->fed + machine->fed_len, bytes, len);
    machine->fed_len += len;
}

void machine_produce(struct machine *machine, const CK_BYTE *bytes, CK_ULONG len)
{
    REQUIRE(machine->produced_len + len <= MACHINE_BYTES);
    memcpy(machine->produced + machine->produced_len, bytes, len);
    machine->produced_len += len;
}

static void forget_data(struct machine *machine)
{
    machine->taken = 0;
    machine->fed_len = 0;
    machine->produced_len = 0;
}

/* The operation has ended well: its output is that of one call with the same input. */
static void check_output(struct machine *machine)
{
    CK_BYTE expected[2 * MACHINE_BYTES];
    CK_BYTE tail[MAC_ROOM];

    if (machine->row->driver->tail != NULL)
        machine_produce(machine, tail, machine->row->driver->tail(tail));
    if ((machine->row->traits & TRAITS_CHECK) == 0) {
        CK_ULONG len = operations_reference(machine, machine->fed, machine->fed_len, expected);
        if (len != machine->produced_len)
            machine_mismatch(machine, "output length", machine->produced_len, len, "5.2");
        if (memcmp(expected, machine->produced, len) != 0)
            machine_mismatch(machine, "output differs", 0, 0, "5.2");
    }
    forget_data(machine);
}

/* What the next call of this function gives out, as a size query says it. */
static CK_ULONG expected_len(const struct machine *machine, enum machine_function function,
                             CK_ULONG in_len)
{
    const struct machine_row *row = machine->row;

    if ((row->traits & TRAITS_MESSAGE_CRYPT) != 0) {
        if ((row->traits & TRAIT_COLLECTS) == 0 || function == FUNCTION_ONCE)
            return in_len;
        return function == FUNCTION_UPDATE ? 0 : machine->fed_len + in_len;
    }
    switch (function) {
    case FUNCTION_ONCE:
        return row->once_len;
    case FUNCTION_UPDATE:
        return machine->fed_len == 0 ? row->first_len : row->next_len;
    default:
        if (machine->phase == PHASE_PARTS && (row->traits & TRAIT_COLLECTS) != 0)
            return machine->fed_len - TAG;
        return machine->phase == PHASE_PARTS ? row->final_len : row->empty_len;
    }
}

/* C_GetOperationState and C_SetOperationState come and go together. */
static bool applies(const struct machine_row *row, enum machine_call call)
{
    if (call >= CALL_SAVE && call <= CALL_RESTORE && !operations_save_states())
        return false;
    return (machine_lines[call].traits & row->traits) != 0;
}

/* Verifying calls get the right signature for what was given and `in`, into out. */
static CK_ULONG sign_for(struct machine *machine, const struct machine_args *args, CK_BYTE *out)
{
    CK_BYTE all[2 * MACHINE_BYTES];

    memcpy(all, machine->fed, machine->fed_len);
    if (args->in_len > 0 && args->in != NULL)
        memcpy(all + machine->fed_len, args->in, args->in_len);
    return operations_mac(machine, all, machine->fed_len + (args->in ? args->in_len : 0), out);
}

/* Where a call's arguments live. Exactly as much room is announced as is needed; the bytes behind
 * it stay as they are. */
struct attempt {
    CK_BYTE in[MACHINE_BYTES];
    CK_BYTE out[2 * MACHINE_BYTES];
    CK_ULONG room;
    CK_ULONG len;
    CK_ULONG needed;
    struct machine_args args;
};

static void prepare_input(const struct machine *machine, const struct machine_line *line,
                          struct attempt *attempt)
{
    CK_ULONG left = machine->text_len - machine->taken;
    CK_ULONG len = 0;

    if (line->function == FUNCTION_ONCE)
        len = machine->text_len;
    else if (line->function == FUNCTION_UPDATE && line->variant != VARIANT_NOTHING)
        len = left < machine->row->part_len ? left : machine->row->part_len;
    else if ((machine->row->traits & TRAITS_MESSAGE) != 0 && line->function == FUNCTION_FINAL)
        len = left;
    memcpy(attempt->in, machine->text + (line->function == FUNCTION_ONCE ? 0 : machine->taken),
           len);
    attempt->args.in = attempt->in;
    attempt->args.in_len = len;
    if (line->variant == VARIANT_BAD && len > 0 && (machine->row->traits & TRAITS_SIGNATURE) == 0) {
        attempt->in[len - 1] ^= 1;
        attempt->args.in_len -= machine->row->bad_is_length;
    }
    if (line->variant == VARIANT_NO_INPUT) {
        attempt->args.in = NULL;
        attempt->args.in_len = 5;
    }
}

static void prepare(struct machine *machine, const struct machine_line *line,
                    struct attempt *attempt)
{
    bool checks = (machine->row->traits & TRAITS_SIGNATURE) != 0;

    memset(attempt->out, MACHINE_CANARY, sizeof(attempt->out));
    prepare_input(machine, line, attempt);
    attempt->needed = expected_len(machine, line->function, attempt->args.in_len);
    if (line->function == FUNCTION_UPDATE && attempt->args.in_len == 0)
        attempt->needed = 0;
    if (checks && line->function != FUNCTION_UPDATE)
        attempt->needed = sign_for(machine, &attempt->args, attempt->out);
    if (checks && line->variant == VARIANT_BAD)
        attempt->out[0] ^= 1;
    attempt->room = attempt->needed;
    if (line->variant == VARIANT_SMALL && attempt->room > 0)
        attempt->room--;
    attempt->len = line->variant == VARIANT_QUERY ? 0 : attempt->room;
    attempt->args.out = line->variant == VARIANT_QUERY ? NULL : attempt->out;
    attempt->args.out_len = &attempt->len;
    if (line->variant == VARIANT_NO_LEN && checks)
        attempt->args.out = NULL;
    else if (line->variant == VARIANT_NO_LEN)
        attempt->args.out_len = NULL;
}

/* What the call left in buffer and length (5.2). */
static void check_room(struct machine *machine, const struct machine_line *line, CK_RV rv,
                       const struct attempt *attempt)
{
    bool sizes = rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && line->variant == VARIANT_QUERY);
    CK_ULONG touched = sizes ? 0 : attempt->room;

    if ((machine->row->traits & TRAITS_CHECK) != 0)
        return;
    for (size_t i = touched; i < sizeof(attempt->out); i++)
        if (attempt->out[i] != MACHINE_CANARY)
            machine_mismatch(machine, "a byte past the announced length: number", i, touched,
                             "5.2");
    if (sizes && attempt->len != attempt->needed)
        machine_mismatch(machine, "size", attempt->len, attempt->needed, "5.2");
    if (rv == CKR_OK && line->function == FUNCTION_UPDATE && attempt->len != attempt->needed)
        machine_mismatch(machine, "output length", attempt->len, attempt->needed, "5.2");
    if (rv == CKR_OK && attempt->len > attempt->needed)
        machine_mismatch(machine, "output length", attempt->len, attempt->needed, "5.2");
    if (line->variant == VARIANT_BAD && rv != CKR_OK && attempt->needed >= TAG &&
        memcmp(attempt->out, machine->plain, TAG) == 0)
        machine_mismatch(machine, "plaintext of refused data", 0, 0, "5.10.2");
}

static void data_call(struct machine *machine, const struct machine_line *line,
                      const struct machine_rule *rule, CK_RV wanted)
{
    const struct machine_driver *driver = machine->row->driver;
    struct attempt attempt;
    CK_RV rv;

    prepare(machine, line, &attempt);
    if (line->function == FUNCTION_ONCE)
        rv = driver->once(machine->session, &attempt.args);
    else if (line->function == FUNCTION_UPDATE)
        rv = driver->update(machine->session, &attempt.args);
    else
        rv = driver->final(machine->session, &attempt.args);
    if (rv != wanted)
        machine_mismatch(machine, "", rv, wanted, rule->section);
    check_room(machine, line, rv, &attempt);
    if (rv != CKR_OK || line->variant == VARIANT_QUERY)
        return;
    machine_feed(machine, attempt.args.in, attempt.args.in_len);
    machine->taken += attempt.args.in_len;
    if ((machine->row->traits & TRAITS_CHECK) == 0 && attempt.args.out_len != NULL)
        machine_produce(machine, attempt.out, attempt.len);
    if (line->function != FUNCTION_UPDATE)
        check_output(machine);
}

/* C_*Final finishes a whole message: what is left of it goes in first. */
static void feed_rest(struct machine *machine, enum machine_call call)
{
    struct attempt attempt;
    CK_ULONG len = machine->text_len - machine->taken;

    if (machine->phase != PHASE_PARTS || (machine->row->traits & TRAITS_STREAM) == 0 ||
        (call != CALL_FINAL && call != CALL_FINAL_BAD))
        return;
    memcpy(attempt.in, machine->text + machine->taken, len);
    attempt.args = (struct machine_args){attempt.in, len, attempt.out, &attempt.len};
    attempt.len = sizeof(attempt.out);
    if (call == CALL_FINAL_BAD && (machine->row->traits & TRAITS_SIGNATURE) == 0) {
        attempt.in[len - 1] ^= 1;
        attempt.args.in_len -= machine->row->bad_is_length;
    }
    api_expect(machine->row->driver->update(machine->session, &attempt.args), CKR_OK,
               machine->trace);
    machine_feed(machine, attempt.in, attempt.args.in_len);
    machine->taken = machine->text_len;
    if ((machine->row->traits & TRAITS_OUTPUT_IN_PARTS) != 0)
        machine_produce(machine, attempt.out, attempt.len);
}

static CK_RV begin_operation(struct machine *machine, enum machine_call call)
{
    static CK_BYTE wrong[3];
    CK_MECHANISM mechanism = machine->row->mechanism;
    CK_BYTE mac[MAC_ROOM];
    CK_ULONG mac_len = sizeof(mac);
    struct machine_args args = {machine->text, machine->text_len, mac, &mac_len};

    if ((machine->row->traits & TRAIT_VERIFY_SIGNATURE) != 0)
        mac_len = operations_mac(machine, machine->text, machine->text_len, mac);
    if (call == CALL_INIT_INPUT)
        args.out = NULL;
    if (call == CALL_INIT_SMALL)
        mac_len--;
    if (call == CALL_INIT_PARAMETER) {
        mechanism.pParameter = wrong;
        mechanism.ulParameterLen = sizeof(wrong);
    }
    if (call == CALL_INIT_MECHANISM)
        mechanism.mechanism = CKM_VENDOR_DEFINED | 0x7ffUL;
    return machine->row->driver->init(machine->session,
                                      call == CALL_INIT_CANCEL ? NULL : &mechanism,
                                      call == CALL_INIT_KEY ? 0x7fffffffUL : machine->key, &args);
}

static CK_RV save(struct machine *machine, enum machine_call call)
{
    struct machine_saved *saved = &machine->saved;
    CK_BYTE bytes[MACHINE_SAVED];
    CK_ULONG needed = 0;
    CK_ULONG len = sizeof(bytes);

    memset(bytes, MACHINE_CANARY, sizeof(bytes));
    if (call == CALL_SAVE_NO_LEN)
        return states_api.p11->C_GetOperationState(machine->session, bytes, NULL);
    CK_RV rv = states_api.p11->C_GetOperationState(machine->session, NULL, &needed);
    if (rv != CKR_OK || call == CALL_SAVE_QUERY)
        return rv;
    if (call == CALL_SAVE_SMALL)
        len = needed - 1;
    rv = states_api.p11->C_GetOperationState(machine->session, bytes, &len);
    for (size_t i = rv == CKR_OK ? needed : 0; i < sizeof(bytes); i++)
        if (bytes[i] != MACHINE_CANARY)
            machine_mismatch(machine, "a byte past the announced length: number", i, needed, "5.2");
    if (len != needed)
        machine_mismatch(machine, "size", len, needed, "5.2");
    if (rv != CKR_OK)
        return rv;
    saved->len = len;
    memcpy(saved->bytes, bytes, len);
    saved->phase = machine->phase;
    saved->taken = machine->taken;
    saved->fed_len = machine->fed_len;
    memcpy(saved->fed, machine->fed, machine->fed_len);
    return CKR_OK;
}

static CK_RV other_call(struct machine *machine, enum machine_call call)
{
    CK_FLAGS flag = machine->row->driver->cancel_flag;

    switch (call) {
    case CALL_BEGIN:
    case CALL_BEGIN_PARAMETER:
        return machine->row->driver->begin(machine->session, call == CALL_BEGIN);
    case CALL_KEY:
    case CALL_KEY_BAD:
        return operations_digest_key(machine, call == CALL_KEY);
    case CALL_END:
        return machine->row->driver->end(machine->session);
    case CALL_CANCEL:
        return states_api.p11->C_SessionCancel(machine->session, flag);
    case CALL_CANCEL_OTHERS:
        return states_api.p11->C_SessionCancel(machine->session, OPERATIONS_ALL_FLAGS & ~flag);
    case CALL_OTHERS:
        return operations_others(machine);
    case CALL_OTHERS_IDLE:
        return operations_others_idle(machine);
    case CALL_LOGOUT:
        return states_api.p11->C_Logout(machine->session);
    case CALL_DESTROY:
        return states_api.p11->C_DestroyObject(machine->other, machine->key);
    case CALL_CLOSE_OWNER:
        return operations_change_owner(machine);
    case CALL_SAVE:
    case CALL_SAVE_QUERY:
    case CALL_SAVE_SMALL:
    case CALL_SAVE_NO_LEN:
        return save(machine, call);
    case CALL_RESTORE:
        return states_api.p11->C_SetOperationState(machine->session, machine->saved.bytes,
                                                   machine->saved.len, 0, 0);
    case CALL_CLOSE:
        return states_api.p11->C_CloseSession(machine->session);
    default:
        return begin_operation(machine, call);
    }
}

static void note_other_call(struct machine *machine, enum machine_call call)
{
    if (call == CALL_LOGOUT)
        machine->logged_out = true;
    if (call == CALL_LOGOUT || call == CALL_DESTROY || call == CALL_CLOSE_OWNER)
        machine->key_is_gone = (machine->row->traits & TRAITS_KEY) != 0;
    if (call == CALL_KEY)
        machine_feed(machine, operations_key_value, OPERATIONS_KEY_LEN);
}

static CK_RV wanted_rv(const struct machine *machine, const struct machine_rule *rule)
{
    if (rule->rv == RV_OF_BAD_DATA)
        return machine->row->bad;
    return rule->rv == RV_OF_EMPTY_FINAL ? machine->row->empty_final : rule->rv;
}

static const struct machine_rule *find_rule(const struct machine *machine, enum machine_call call)
{
    unsigned int traits = machine->row->traits;

    if (expected_len(machine, machine_lines[call].function, 1) == 0)
        traits |= TRAIT_NOTHING_OUT;
    if (machine->logged_out)
        traits |= TRAIT_LOGGED_OUT;
    if (machine->saved.len > 0)
        traits |= TRAIT_HAS_SAVED;
    return rules_find(call, machine->phase, traits);
}

void machine_note(struct machine *machine, const char *text)
{
    size_t len = strlen(machine->trace);

    snprintf(machine->trace + len, sizeof(machine->trace) - len, " %s", text);
}

void machine_enter(struct machine *machine, enum machine_phase phase)
{
    if (phase == PHASE_SAME)
        return;
    if (phase != PHASE_PARTS)
        forget_data(machine);
    machine->phase = phase;
    if (phase == PHASE_SAVED) {
        machine->phase = machine->saved.phase;
        machine->taken = machine->saved.taken;
        machine_feed(machine, machine->saved.fed, machine->saved.fed_len);
    }
}

void machine_step(struct machine *machine, enum machine_call call)
{
    const struct machine_line *line = &machine_lines[call];

    machine_note(machine, line->name);
    feed_rest(machine, call);
    const struct machine_rule *rule = find_rule(machine, call);
    CK_RV wanted = wanted_rv(machine, rule);
    if (line->function != FUNCTION_OTHER) {
        data_call(machine, line, rule, wanted);
    } else {
        CK_RV rv = other_call(machine, call);
        if (rv != wanted)
            machine_mismatch(machine, "", rv, wanted, rule->section);
        if (rv == CKR_OK)
            note_other_call(machine, call);
    }
    machine_enter(machine, rule->after);
}

void machine_follow(struct machine *machine, enum machine_call call)
{
    const struct machine_rule *rule = find_rule(machine, call);

    if (rule->rv == CKR_OK)
        note_other_call(machine, call);
    machine_enter(machine, rule->after);
}

static void begin(struct machine *machine)
{
    if (machine->key == 0)
        machine->key = operations_make_key(machine);
    machine->phase = PHASE_IDLE;
    machine->trace[0] = '\0';
    machine->saved.len = 0;
    forget_data(machine);
}

void machine_begin(struct machine *machine)
{
    OK(states_api.p11->C_OpenSession(states_api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                     NULL, &machine->session));
    begin(machine);
}

void machine_begin_beside(struct machine *machine, const struct machine *first)
{
    machine->session = first->session;
    begin(machine);
}

static void end(struct machine *machine)
{
    if (machine->key_is_gone)
        machine->key = 0;
    machine->logged_out = false;
    machine->key_is_gone = false;
}

void machine_end(struct machine *machine)
{
    if (machine->phase != PHASE_CLOSED)
        OK(states_api.p11->C_CloseSession(machine->session));
    if (machine->logged_out)
        OK(states_api.p11->C_Login(machine->other, CKU_USER, NULL, 0));
    end(machine);
}

void machine_end_beside(struct machine *machine)
{
    end(machine);
}

static void walk(struct machine *machine, const enum machine_call *path)
{
    for (; *path != CALL_NONE; path++)
        machine_step(machine, *path);
}

bool machine_probe(struct machine *machine, size_t number)
{
    for (size_t i = 0; i < machine_probe_count; i++)
        if (machine_probes[i].phase == machine->phase &&
            (machine_probes[i].traits & machine->row->traits) != 0 && number-- == 0) {
            machine_note(machine, ";");
            walk(machine, machine_probes[i].calls);
            return true;
        }
    return false;
}

/* The path, the call, and the probe with this number. False when the state that is left has no such
 * probe. */
static bool run_cell(struct machine *machine, const enum machine_call *path, enum machine_call call,
                     size_t number)
{
    machine_begin(machine);
    walk(machine, path);
    machine_step(machine, call);
    bool probed = machine_probe(machine, number);
    machine_end(machine);
    return probed;
}

static bool path_applies(const struct machine_row *row, const enum machine_call *path)
{
    for (; *path != CALL_NONE; path++)
        if (!applies(row, *path))
            return false;
    return true;
}

size_t machine_run(struct machine *machine)
{
    size_t cells = 0;

    for (size_t path = 0; path < machine_path_count; path++) {
        if (!path_applies(machine->row, machine_paths[path]))
            continue;
        for (enum machine_call call = CALL_INIT; call < CALLS; call++) {
            size_t probe = 0;
            if (!applies(machine->row, call))
                continue;
            while (run_cell(machine, machine_paths[path], call, probe))
                probe++;
            REQUIRE_MSG(probe > 0, "%s: no probe", machine->trace);
            cells++;
        }
    }
    return cells;
}

CK_ULONG machine_update_len(const struct machine *machine, CK_ULONG in_len)
{
    return in_len == 0 ? 0 : expected_len(machine, FUNCTION_UPDATE, in_len);
}

void machine_open(struct machine *machine, const struct machine_row *row)
{
    memset(machine, 0, sizeof(*machine));
    machine->row = row;
    for (size_t i = 0; i < sizeof(machine->plain); i++)
        machine->plain[i] = (CK_BYTE) (i + 1);
    operations_open(machine);
    machine->key = operations_make_key(machine);
    machine->text_len = operations_make_text(machine);
}
