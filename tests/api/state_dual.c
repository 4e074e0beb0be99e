#include "tests/api/state_dual.h"

#include <string.h>

#include "tests/api/state_operations.h"

#define P11 states_api.p11
#define DUAL_PATH 5

/* The cipher's row and the other's, by their names in state_operations.c. */
static const struct {
    const char *name;
    const char *cipher;
    const char *other;
    size_t function;
} rows[] = {
    {"DigestEncrypt GCM", "Encrypt GCM", "Digest SHA-256", 0},
    {"DigestEncrypt CBC_PAD", "Encrypt CBC_PAD", "Digest SHA-256", 0},
    {"DecryptDigest CBC_PAD", "Decrypt CBC_PAD", "Digest SHA-256", 1},
    {"DecryptDigest GCM", "Decrypt GCM", "Digest SHA-256", 1},
    {"SignEncrypt CBC", "Encrypt CBC", "Sign CMAC", 2},
    {"SignEncrypt GCM", "Encrypt GCM", "Sign HMAC", 2},
    {"DecryptVerify CBC", "Decrypt CBC", "Verify HMAC", 3},
    {"DecryptVerify CBC_PAD", "Decrypt CBC_PAD", "Verify CMAC", 3},
};
const size_t dual_count = COUNT(rows);

/* Two operations in one session, and the function that feeds both. */
struct pair {
    size_t function;
    struct machine *cipher;
    struct machine *other;
};

static CK_RV call_function(size_t function, CK_SESSION_HANDLE session,
                           const struct machine_args *args)
{
    switch (function) {
    case 0:
        return P11->C_DigestEncryptUpdate(session, args->in, args->in_len, args->out,
                                          args->out_len);
    case 1:
        return P11->C_DecryptDigestUpdate(session, args->in, args->in_len, args->out,
                                          args->out_len);
    case 2:
        return P11->C_SignEncryptUpdate(session, args->in, args->in_len, args->out, args->out_len);
    default:
        return P11->C_DecryptVerifyUpdate(session, args->in, args->in_len, args->out,
                                          args->out_len);
    }
}

/* A step is a call of the cipher's machine, or of the other's, or one to both. */
#define OTHER(call) ((call) + CALLS)
#define BOTH(variant) ((variant) + 2 * CALLS)
enum variant { PART = 1, QUERY, SMALL, NO_LEN, NO_INPUT, NOTHING, VARIANTS };
static const char *const variant_names[VARIANTS] = {
    [PART] = "Both",           [QUERY] = "Both(query)",       [SMALL] = "Both(small)",
    [NO_LEN] = "Both(no len)", [NO_INPUT] = "Both(no input)", [NOTHING] = "Both(0 bytes)"};

#define BEGUN CALL_INIT, OTHER(CALL_INIT)
static const int paths[][DUAL_PATH + 1] = {
    {CALL_NONE},
    {CALL_INIT},
    {CALL_INIT, CALL_UPDATE},
    {OTHER(CALL_INIT)},
    {OTHER(CALL_INIT), OTHER(CALL_UPDATE)},
    {BEGUN},
    {BEGUN, CALL_UPDATE},
    {BEGUN, OTHER(CALL_UPDATE)},
    {BEGUN, CALL_UPDATE, OTHER(CALL_UPDATE)},
    {BEGUN, BOTH(PART)},
    {BEGUN, BOTH(PART), CALL_UPDATE},
    {BEGUN, BOTH(PART), OTHER(CALL_UPDATE)},
    {BEGUN, BOTH(QUERY)},
    {BEGUN, BOTH(PART), BOTH(QUERY)},
    {BEGUN, BOTH(SMALL)},
    {BEGUN, BOTH(PART), BOTH(SMALL)},
    {BEGUN, BOTH(NO_LEN)},
    {BEGUN, BOTH(PART), BOTH(NO_INPUT)},
    {BEGUN, BOTH(PART), CALL_ONCE},
    {BEGUN, BOTH(PART), OTHER(CALL_ONCE)},
    {BEGUN, BOTH(PART), CALL_CANCEL},
    {BEGUN, BOTH(PART), OTHER(CALL_CANCEL)},
    {BEGUN, BOTH(PART), CALL_INIT_CANCEL},
    {BEGUN, BOTH(PART), OTHER(CALL_INIT_CANCEL)},
    {BEGUN, BOTH(PART), CALL_FINAL},
    {BEGUN, BOTH(PART), OTHER(CALL_FINAL)},
    {BEGUN, BOTH(PART), CALL_FINAL, OTHER(CALL_FINAL)},
    {BEGUN, BOTH(PART), CALL_DESTROY},
    {BEGUN, BOTH(PART), CALL_LOGOUT},
    {BEGUN, BOTH(PART), CALL_CLOSE},
};

static const int calls[] = {
    BOTH(PART),
    BOTH(QUERY),
    BOTH(SMALL),
    BOTH(NO_LEN),
    BOTH(NO_INPUT),
    BOTH(NOTHING),
    CALL_INIT,
    CALL_ONCE,
    CALL_UPDATE,
    CALL_UPDATE_QUERY,
    CALL_UPDATE_NO_INPUT,
    CALL_FINAL,
    CALL_FINAL_QUERY,
    CALL_CANCEL,
    CALL_DESTROY,
    CALL_LOGOUT,
    CALL_CLOSE,
    OTHER(CALL_INIT),
    OTHER(CALL_ONCE),
    OTHER(CALL_UPDATE),
    OTHER(CALL_UPDATE_NO_INPUT),
    OTHER(CALL_FINAL),
    OTHER(CALL_CANCEL),
};

/* The first that matches counts; a phase after holds for both. [P] as in state_rules.c. */
static const struct {
    unsigned int variants;
    unsigned int cipher_phases;
    unsigned int other_phases;
    bool nothing_out; /* only where the cipher gives nothing out */
    CK_RV rv;
    enum machine_phase after;
    const char *section;
} rules[] = {
    {~0U, PHASE_CLOSED, PHASE_CLOSED, false, CKR_SESSION_HANDLE_INVALID, PHASE_SAME, "5.6.2"},
    /* The one that is active goes on [P]. */
    {~0U, PHASES_OVER, PHASES_LIVE, false, CKR_OPERATION_NOT_INITIALIZED, PHASE_SAME, "5.17.1"},
    {~0U, PHASES_LIVE, PHASES_OVER, false, CKR_OPERATION_NOT_INITIALIZED, PHASE_SAME, "5.17.1"},
    {1U << PART | 1U << NOTHING, PHASES_ACTIVE, PHASES_ACTIVE, false, CKR_OK, PHASE_PARTS,
     "5.17.1"},
    /* "no plaintext is passed to the active digest operation" */
    {1U << QUERY, PHASES_ACTIVE, PHASES_ACTIVE, false, CKR_OK, PHASE_SAME, "5.17.1"},
    {1U << SMALL, PHASES_ACTIVE, PHASES_ACTIVE, true, CKR_OK, PHASE_PARTS, "5.2"},
    {1U << SMALL, PHASES_ACTIVE, PHASES_ACTIVE, false, CKR_BUFFER_TOO_SMALL, PHASE_SAME, "5.17.1"},
    /* Other errors end both: their data would differ [P]. */
    {1U << NO_LEN | 1U << NO_INPUT, PHASES_ACTIVE, PHASES_ACTIVE, false, CKR_ARGUMENTS_BAD,
     PHASE_IDLE, "5.8.3, 5.12.3"},
};

static size_t find_rule(int variant, const struct machine *cipher, const struct machine *other,
                        bool nothing_out)
{
    for (size_t i = 0; i < COUNT(rules); i++)
        if ((rules[i].variants & (1U << variant)) != 0 &&
            (rules[i].cipher_phases & cipher->phase) != 0 &&
            (rules[i].other_phases & other->phase) != 0 && (!rules[i].nothing_out || nothing_out))
            return i;
    ck_abort_msg("no rule for %s", variant_names[variant]);
    return 0;
}

/* The plaintext goes to the other operation: what was given, or what came out. */
static void note_part(struct machine *cipher, struct machine *other,
                      const struct machine_args *args)
{
    bool encrypts = (cipher->row->traits & TRAIT_ENCRYPT) != 0;
    CK_ULONG plain_len = encrypts ? args->in_len : *args->out_len;

    machine_feed(cipher, args->in, args->in_len);
    cipher->taken += args->in_len;
    machine_produce(cipher, args->out, *args->out_len);
    machine_feed(other, encrypts ? args->in : args->out, plain_len);
    other->taken += plain_len;
}

static void step_both(const struct pair *pair, int variant)
{
    struct machine *cipher = pair->cipher;
    struct machine *other = pair->other;
    CK_BYTE in[MACHINE_BYTES];
    CK_BYTE out[MACHINE_BYTES];
    CK_ULONG left = cipher->text_len - cipher->taken;
    CK_ULONG len = left < cipher->row->part_len ? left : cipher->row->part_len;
    struct machine_args args = {in, variant == NOTHING ? 0 : len, out, &len};

    machine_note(cipher, variant_names[variant]);
    memcpy(in, cipher->text + cipher->taken, len);
    memset(out, MACHINE_CANARY, sizeof(out));
    CK_ULONG needed = machine_update_len(cipher, args.in_len);
    CK_ULONG room = variant == SMALL && needed > 0 ? needed - 1 : needed;
    size_t rule = find_rule(variant, cipher, other, needed == 0);
    len = room;
    if (variant == QUERY)
        args.out = NULL;
    if (variant == NO_LEN)
        args.out_len = NULL;
    if (variant == NO_INPUT)
        args.in = NULL;
    CK_RV rv = call_function(pair->function, cipher->session, &args);
    if (rv != rules[rule].rv)
        machine_mismatch(cipher, "", rv, rules[rule].rv, rules[rule].section);
    if ((rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL) && len != needed)
        machine_mismatch(cipher, "length", len, needed, "5.2");
    for (size_t i = rv == CKR_OK && variant != QUERY ? room : 0; i < sizeof(out); i++)
        if (out[i] != MACHINE_CANARY)
            machine_mismatch(cipher, "a byte past the announced length: number", i, room, "5.2");
    if (rv == CKR_OK && variant != QUERY)
        note_part(cipher, other, &args);
    machine_enter(cipher, rules[rule].after);
    machine_enter(other, rules[rule].after);
}

/* Each machine's trace holds the calls of both. */
static void step(const struct pair *pair, int call)
{
    struct machine *cipher = pair->cipher;
    struct machine *other = pair->other;

    if (call >= BOTH(0)) {
        step_both(pair, call - BOTH(0));
    } else if (call >= OTHER(0)) {
        machine_note(other, "other:");
        machine_step(other, (enum machine_call)(call - OTHER(0)));
        memcpy(cipher->trace, other->trace, sizeof(cipher->trace));
        return;
    } else {
        machine_step(cipher, (enum machine_call) call);
        if (call == CALL_LOGOUT || call == CALL_CLOSE)
            machine_follow(other, (enum machine_call) call);
    }
    memcpy(other->trace, cipher->trace, sizeof(other->trace));
}

/* Both operations are probed: the cell runs once for each probe that one of them has. */
static bool run_cell(const struct pair *pair, const int *path, int call, size_t probe)
{
    struct machine *cipher = pair->cipher;
    struct machine *other = pair->other;

    machine_begin(cipher);
    machine_begin_beside(other, cipher);
    for (; *path != CALL_NONE; path++)
        step(pair, *path);
    step(pair, call);
    bool probed = machine_probe(cipher, probe);
    memcpy(other->trace, cipher->trace, sizeof(other->trace));
    machine_note(other, "other:");
    probed |= machine_probe(other, probe);
    machine_end_beside(other);
    machine_end(cipher);
    return probed;
}

static const struct machine_row *row_named(const char *name)
{
    for (size_t i = 0; i < operations_count; i++)
        if (strcmp(operations_rows[i].name, name) == 0)
            return &operations_rows[i];
    ck_abort_msg("no row %s", name);
    return NULL;
}

const char *dual_name(size_t row)
{
    return rows[row].name;
}

bool dual_present(void)
{
    CK_BYTE out[1];
    CK_ULONG len = sizeof(out);

    return P11->C_DigestEncryptUpdate(states_api.session, out, 0, out, &len) !=
           CKR_FUNCTION_NOT_SUPPORTED;
}

size_t dual_run(size_t row)
{
    static struct machine cipher;
    static struct machine other;
    const struct pair pair = {rows[row].function, &cipher, &other};
    size_t cells = 0;

    machine_open(&cipher, row_named(rows[row].cipher));
    machine_open(&other, row_named(rows[row].other));
    for (size_t path = 0; path < COUNT(paths); path++)
        for (size_t call = 0; call < COUNT(calls); call++) {
            size_t probe = 0;
            while (run_cell(&pair, paths[path], calls[call], probe))
                probe++;
            REQUIRE_MSG(probe > 0, "%s: no probe", cipher.trace);
            cells++;
        }
    return cells;
}
