/* Single-threaded tests over thousands of cases run only some of the cases under ThreadSanitizer,
 * which finds races between threads and is twenty to fifty times slower. The plain build and
 * AddressSanitizer's run all of them. */
#ifndef STAYD_TESTS_BRIEF_H
#define STAYD_TESTS_BRIEF_H

#if defined(__SANITIZE_THREAD__)
#define BRIEF 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BRIEF 1
#endif
#endif

#ifdef BRIEF
enum { BRIEF_STEP = 17 };
#else
enum { BRIEF_STEP = 1 };
#endif

#endif
