// Writes made-up input for examples/vector-index to stdout, any amount of it in little memory:
//
//   generate-vectors vectors COUNT SEED    COUNT vectors as .fvecs
//   generate-vectors items COUNT SEED      as many items as TSV
//
// 768 values (3 KiB, a common size of text embeddings), of unit length, around one of 100 centres,
// so that lists are worth having. The centres are the same for every seed; the same arguments give
// the same bytes.

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIM 768
#define CENTRES 100
#define SECTIONS 50
#define SPREAD 2.0F // of a member around its centre, in values of the centre

static float centres[CENTRES][DIM];

// splitmix64
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

// Four values of -1..1 from each random number: a stream of a thousand million values must not be
// slower than what reads it.
static void fill(float *values, uint64_t *state)
{
    for (size_t i = 0; i < DIM; i += 4) {
        uint64_t bits = next_random(state);

        for (size_t part = 0; part < 4; part++, bits >>= 16) {
            values[i + part] = (float) (int16_t) (bits & 0xffff) / 32768.0F;
        }
    }
}

static void make_centres(void)
{
    uint64_t state = 0;

    for (size_t i = 0; i < CENTRES; i++) {
        fill(centres[i], &state);
    }
}

static void make_vector(uint64_t *state, float *ret_vector)
{
    const float *centre = centres[next_random(state) % CENTRES];
    float sum = 0;

    fill(ret_vector, state);
    for (size_t i = 0; i < DIM; i++) {
        ret_vector[i] = centre[i] + SPREAD * ret_vector[i];
        sum += ret_vector[i] * ret_vector[i];
    }
    for (size_t i = 0; i < DIM; i++) {
        ret_vector[i] /= sqrtf(sum);
    }
}

static int write_vectors(uint64_t count, uint64_t seed)
{
    struct {
        int32_t dim;
        float values[DIM];
    } row = {.dim = DIM};

    make_centres();
    for (uint64_t i = 0; i < count; i++) {
        make_vector(&seed, row.values);
        if (fwrite(&row, sizeof row, 1, stdout) != 1) {
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

static int write_items(uint64_t count, uint64_t seed)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t random = next_random(&seed);

        if (printf("item-%08" PRIu64 "\tsection-%02u\t%u\n", i, (unsigned) (random % SECTIONS),
                   (unsigned) (random >> 48)) < 0) {
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    int result = EXIT_FAILURE;

    if (argc == 4 && strcmp(argv[1], "vectors") == 0) {
        result = write_vectors(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    } else if (argc == 4 && strcmp(argv[1], "items") == 0) {
        result = write_items(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    } else {
        fputs("usage: generate-vectors vectors|items COUNT SEED\n", stderr);
    }
    return fflush(stdout) == 0 ? result : EXIT_FAILURE;
}
