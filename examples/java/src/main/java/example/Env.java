package example;

final class Env {
  /** Returns the value of a variable, or the default for one that is not set. */
  static String get(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }
}
