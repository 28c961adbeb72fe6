/* Tests that repeat the work of one thread over thousands of cases take some under ThreadSanitizer,
 * which looks for races between threads and takes twenty to fifty times as long; the plain build
 * and AddressSanitizer's take all of them. */
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
